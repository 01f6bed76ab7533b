//! What a DSSE signature is made over: the payload together with its type, so that neither can be
//! taken for another
//! ([secure-systems-lab/dsse, protocol.md](https://github.com/secure-systems-lab/dsse/blob/master/protocol.md)).

/// The type of an in-toto statement as a DSSE payload.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The bytes that are signed: PAE(type, payload).
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let (type_len, payload_len) = (payload_type.len(), payload.len());
    let mut encoded = format!("DSSEv1 {type_len} {payload_type} {payload_len} ").into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_the_example_of_the_specification() {
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }
}

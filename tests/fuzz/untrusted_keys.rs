//! The image that is asked about, and keys that have signed nothing: their private halves were never
//! kept.

/// The image's repository.
pub(crate) const REPOSITORY: &str = "r.example/team/app";
/// The image's manifest.
pub(crate) const IMAGE: &[u8] = b"{}";

/// P-256, P-384, Ed25519 and RSA.
#[allow(dead_code, reason = "the seeds are signed by others")]
pub(crate) const PEM: [&str; 4] = [
    "-----BEGIN PUBLIC KEY-----\n\
     MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYTVluE7UqUm0UtDq46NcU5ezeWWe\n\
     klbLHdusnRf+RJKh3OS4QXGhXQDNr72sNsr6X8WhdIgQvppW+U7P4mS+tw==\n\
     -----END PUBLIC KEY-----\n",
    "-----BEGIN PUBLIC KEY-----\n\
     MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAETSE2iZn2/IShZfWLLf9LTS/GLN4jEy/y\n\
     Q4+2ETYyKB7h+5pra2PfzpXsVe/eIO0oYxWq46+L5P6ZxUAag89GBM4TZn4w+rZZ\n\
     kQxiODZhRmHl147vj5709UNs0tZTM04A\n\
     -----END PUBLIC KEY-----\n",
    "-----BEGIN PUBLIC KEY-----\n\
     MCowBQYDK2VwAyEAjm9VNLvFplSbj+os7Nbszphnk8vuF4WFCT3UpWW9CvU=\n\
     -----END PUBLIC KEY-----\n",
    "-----BEGIN PUBLIC KEY-----\n\
     MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAsl289BAADLE5bS+pMSDi\n\
     E/jmNYczSJadq504RNWGtD2rIrEGnaNduyYe4W8PEaB4Pt/RSeyuux3Zz8jcPac1\n\
     6xo1OI/dc5oW0cXmMPQxHSB7Rwr3vxpKP0aPBRj7ekGQat79sgltdXuBGz1RjZWX\n\
     j2Oh0bcmjdhef6QJBvnAqburXxl/AAE25VPsgbXV0BjfNTjLEreO/KT/4HlwpfIf\n\
     RXZE0vJcZ1sBThoJ28LBSF332MaYUnhRLwmmaLpj3EqdZTtqKngZNtM3WM/BACyn\n\
     nAdc0nbrPBOJKFzOxN89AYN0CRlMZtPmCX2asmhWW/wEENcrq8a/cP5SMEYP6SxJ\n\
     vQIDAQAB\n\
     -----END PUBLIC KEY-----\n",
];

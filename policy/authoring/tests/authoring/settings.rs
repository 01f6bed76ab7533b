//! Settings: what is encoded comes back byte for byte, and what Bottlerocket would refuse is refused.

use civ_authoring::settings::decode::Base64Error;
use civ_authoring::settings::{
    DecodeError, EncodeError, Form, PluginName, PluginNameError, decode, encode,
};
use proptest::prelude::*;

fn plugin(name: &str) -> PluginName {
    name.parse().unwrap()
}

#[test]
fn each_form_is_what_bottlerocket_takes() {
    let documents = [(plugin("cosign"), b"{}".as_slice()), (plugin("team-a"), b"[1]")];
    for (form, expected) in [
        (
            Form::Apiclient,
            "apiclient set settings.image-verifier-plugins.enabled=true settings.image-verifier-plugins.cosign.trustpolicy=e30= settings.image-verifier-plugins.team-a.trustpolicy=WzFd\n",
        ),
        (
            Form::Toml,
            "[settings.image-verifier-plugins.cosign]\ntrustpolicy = \"e30=\"\n\n[settings.image-verifier-plugins.team-a]\ntrustpolicy = \"WzFd\"\n",
        ),
        (
            Form::UserData,
            "[settings.image-verifier-plugins]\nenabled = true\n\n[settings.image-verifier-plugins.cosign]\ntrustpolicy = \"e30=\"\n\n[settings.image-verifier-plugins.team-a]\ntrustpolicy = \"WzFd\"\n",
        ),
        (
            Form::KubernetesUserData,
            "spec:\n  userData: |\n    [settings.image-verifier-plugins]\n    enabled = true\n\n    [settings.image-verifier-plugins.cosign]\n    trustpolicy = \"e30=\"\n\n    [settings.image-verifier-plugins.team-a]\n    trustpolicy = \"WzFd\"\n",
        ),
    ] {
        assert_eq!(encode(&documents, form).unwrap(), expected, "{form:?}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&encode(&documents, Form::Json).unwrap()).unwrap();
    let expected = serde_json::json!({ "settings": { "image-verifier-plugins": {
        "enabled": true, "cosign": { "trustpolicy": "e30=" }, "team-a": { "trustpolicy": "WzFd" } } } });
    assert_eq!(json, expected);
}

#[test]
fn settings_are_found_wherever_they_begin_and_among_others() {
    for (text, expected) in [
        (
            r#"{"settings":{"image-verifier-plugins":{"enabled":true,"a":{"trustpolicy":"e30="}}}}"#,
            Some("a"),
        ),
        (r#"{"image-verifier-plugins":{"a":{"trust-policy":"e30="}}}"#, Some("a")),
        (r#"{"a":{"trustpolicy":"e30="}}"#, Some("a")),
        (r#"{"trustpolicy":"e30="}"#, None),
        (
            r#"{"settings.image-verifier-plugins.a.trustpolicy":"e30=","settings.motd":"x"}"#,
            Some("a"),
        ),
        (
            "[settings.kernel]\nlockdown = \"integrity\"\n[settings.image-verifier-plugins.a]\ntrustpolicy = \"e30=\"\n",
            Some("a"),
        ),
        ("settings.image-verifier-plugins.a.trustpolicy = \"e30=\"\n", Some("a")),
        (
            "[settings]\nimage-verifier-plugins = { enabled = true, a = { trustpolicy = \"e30=\" } }",
            Some("a"),
        ),
        (
            "apiVersion: karpenter.k8s.aws/v1\nkind: EC2NodeClass\nspec:\n  amiFamily: Bottlerocket\n  userData: |\n    [settings.image-verifier-plugins.a]\n    trustpolicy = \"e30=\"\n",
            Some("a"),
        ),
        ("apiclient set settings.image-verifier-plugins.a.trustpolicy='e30='", Some("a")),
        ("e30=", None),
        ("e30=\n", None),
        ("e30=\r\n", None),
        ("settings.image-verifier-plugins.a.trustpolicy=\"e30=\"", Some("a")),
        (
            "[settings]\nmotd = \"\"\"\nuserData: x\n\"\"\"\n[settings.image-verifier-plugins.a]\r\ntrustpolicy = \"e30=\"\r\n",
            Some("a"),
        ),
        ("\u{feff}[settings.image-verifier-plugins.a]\ntrustpolicy = \"e30=\"\n", Some("a")),
        // base64 of the user data: [settings.image-verifier-plugins.a] and trustpolicy = "e30="
        (
            "W3NldHRpbmdzLmltYWdlLXZlcmlmaWVyLXBsdWdpbnMuYV0KdHJ1c3Rwb2xpY3kgPSAiZTMwPSIK\n",
            Some("a"),
        ),
    ] {
        let found = decode(text).unwrap();
        assert_eq!((found.len(), found[0].document.as_slice()), (1, b"{}".as_slice()), "{text}");
        assert_eq!(found[0].plugin.as_ref().map(PluginName::as_str), expected, "{text}");
    }
}

#[test]
fn refuses_base64_that_bottlerocket_refuses_and_says_what_is_wrong() {
    for (text, why) in [
        ("", Base64Error::Empty),
        ("e30", Base64Error::Padding),
        ("e30==", Base64Error::Padding),
        ("e3\n0=", Base64Error::LineBreak),
        ("e30=\n\n", Base64Error::LineBreak),
        ("e31=", Base64Error::TrailingBits),
        ("Ii0tLT8_Igo=", Base64Error::UrlAlphabet),
        ("e3 0", Base64Error::Character { character: ' ', at: 3 }),
    ] {
        match decode(text) {
            Err(DecodeError::Base64 { plugin: None, source }) => {
                assert_eq!(source, why, "{text:?}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    let error = decode(r#"{"a":{"trustpolicy":"bm90IGpzb24="}}"#).unwrap_err().to_string();
    assert!(error.starts_with("the trust policy of a is base64, but not of JSON"), "{error}");
}

#[test]
fn refuses_settings_that_say_two_things_or_none() {
    for text in [
        "{}",
        "{",
        r#"{"settings":{"motd":"x"}}"#,
        r#"{"settings":{"kernel":{"trustpolicy":"e30="}}}"#,
        r#"{"a":{"trustpolicy":1}}"#,
        r#"{"a":{"trustpolicy":"e30=","trust-policy":"e30="}}"#,
        r#"{"a.b":{"trustpolicy":"e30="},"../x":{"trustpolicy":"e30="}}"#,
        r#"{"enabled":{"trustpolicy":"e30="}}"#,
        "[settings.image-verifier-plugins]\ntrustpolicy = \"e30=\"\n",
        "[settings.image-verifier-plugins.a]\ntrustpolicy = \"e30=\"\ntrustpolicy = \"e30=\"\n",
        "[settings.image-verifier-plugins.a\n",
        "spec:\n  userData: 1\n",
        "spec:\n  userData: |\n  - x: [",
        "apiclient set a.trustpolicy=e30= a.trustpolicy=WzFd",
        "apiclient get settings",
        // Beside a good one, what would be left out without a word.
        r#"{"a":{"trustpolicy":"e30=","trustpolicy":"e30="}}"#,
        r#"{"a":{"trustpolicy":"e30="},"a.b":{"trustpolicy":"e30="}}"#,
        r#"{"a":{"trustpolicy":"e30="},"b":{"trust_policy":"e30="}}"#,
        r#"{"settings":{"image-verifier-plugins":{"a":{"trustpolicy":"e30=","x":1}}}}"#,
        "[settings.image-verifier-plugins]\na-trustpolicy = \"e30=\"\na.trustpolicy = \"e30=\"",
    ] {
        assert!(decode(text).is_err(), "{text}");
    }
}

#[test]
fn compressed_user_data_is_named() {
    for bytes in [&b"\x1f\x8b\x08\x00"[..], b"H4sIAAAA"] {
        assert!(matches!(decode(bytes), Err(DecodeError::Compressed)), "{bytes:?}");
    }
    assert!(matches!(decode(b"\xff"), Err(DecodeError::NotUtf8)));
}

#[test]
fn a_plugins_name_is_one_that_bottlerocket_allows_and_leads_nowhere_else() {
    for (text, why) in [
        ("", PluginNameError::Empty),
        ("enabled", PluginNameError::Reserved),
        ("a_b", PluginNameError::Character),
        ("..", PluginNameError::Character),
        ("a/b", PluginNameError::Character),
        ("é", PluginNameError::Character),
        (&"a".repeat(77), PluginNameError::TooLong),
    ] {
        assert_eq!(text.parse::<PluginName>(), Err(why), "{text}");
    }
    assert!("a".repeat(76).parse::<PluginName>().is_ok() && "Team-1".parse::<PluginName>().is_ok());
    let twice = encode(&[(plugin("a"), b"{}"), (plugin("a"), b"{}")], Form::Toml);
    assert!(matches!(twice, Err(EncodeError::Repeated { .. })));
    assert!(matches!(encode(&[(plugin("a"), b"{")], Form::Toml), Err(EncodeError::NotJson { .. })));
    assert!(matches!(encode(&[], Form::Toml), Err(EncodeError::Nothing)));
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back_byte_for_byte_in_every_form(
        names in proptest::collection::btree_set("[A-Za-z0-9-]{1,12}", 1..4),
        texts in proptest::collection::vec("\\PC{0,40}", 4),
        space in "[ \n\t]{0,3}",
    ) {
        let documents: Vec<(PluginName, Vec<u8>)> = names
            .iter()
            .filter_map(|name| name.parse().ok())
            .zip(&texts)
            .map(|(name, text)| {
                (name, format!("{space}{{\"v\":{}}}{space}", serde_json::Value::from(text.as_str())).into_bytes())
            })
            .collect();
        let borrowed: Vec<_> = documents.iter().map(|(name, bytes)| (name.clone(), bytes.as_slice())).collect();
        for form in Form::ALL {
            let settings = encode(&borrowed, form).unwrap();
            let mut decoded = decode(&settings).unwrap();
            decoded.sort_by(|a, b| a.plugin.cmp(&b.plugin));
            let decoded: Vec<_> = decoded.into_iter().map(|one| (one.plugin.unwrap(), one.document)).collect();
            let mut expected = documents.clone();
            expected.sort();
            prop_assert_eq!(decoded, expected);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]{}\"=.a: e30\n]{0,40}|\\PC{0,40}|userData:[ |\\PC\n]{0,30}") {
        let _ = decode(&text);
    }
}

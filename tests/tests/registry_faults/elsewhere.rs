//! Where a registry may send the gate: to itself, three times, and to its token server. Nowhere
//! else in the machine.

use std::net::TcpListener;

use civ_embedded_registry::fault::{Ending, Framing};
use civ_embedded_registry::{Action, Fault, Registry, Response};
use civ_oci::{Digest, Tag};
use civ_tests::stage::Stage;

use crate::{ALLOWED, Case, MANIFEST, PAYLOAD, TOKEN, play, with_tokens};

const NOT_FOLLOWED: (i32, &str) = (4, "which is not followed, for");
const NO_LOCATION: (i32, &str) = (4, "with a redirect without a usable Location");
const NO_PERMISSION: (i32, &str) = (4, "registry answered 401: no permission to read");
const NO_TOKEN: (i32, &str) = (4, "token server unreachable");
const NOT_A_TOKEN: (i32, &str) = (4, "token server's answer is malformed");

/// Addresses to which no registry may send anybody. `$TRAP` is a port on loopback where somebody else
/// listens, `$HOST` the registry.
const FORBIDDEN: [&str; 18] = [
    "http://127.0.0.1:$TRAP/x",
    "http://localhost:$TRAP/x",
    "http://$HOST@127.0.0.1:$TRAP/x",
    "http://user:password@$HOST/x",
    "http://$HOST.evil.example/x",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://evil.example/x",
    "https://user@127.0.0.1:$TRAP/x",
    "ftp://127.0.0.1:$TRAP/x",
    "file:///etc/passwd",
    "//127.0.0.1:$TRAP/x",
    "https://127.0.0.1:$TRAP/x",
    "https://localhost:$TRAP/x",
    "https://2130706433:$TRAP/x",
    "https://[::ffff:127.0.0.1]:$TRAP/x",
    "https://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/latest/meta-data/",
];

#[test]
fn a_redirect_or_a_realm_leads_nowhere_into_the_machine() {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = trap.local_addr().unwrap().port().to_string();
    let cases = FORBIDDEN.into_iter().flat_map(|target| {
        [MANIFEST, PAYLOAD, TOKEN].map(|place| {
            let port = port.clone();
            Case::new(format!("{target} at {place}"), NOT_FOLLOWED, move |stage| {
                let target =
                    target.replace("$TRAP", &port).replace("$HOST", &stage.registry.host());
                let (place, action) = match place {
                    TOKEN => (MANIFEST, Action::challenge(&format!("Bearer realm=\"{target}\""))),
                    place => (place, Action::Redirect(target)),
                };
                stage.registry.fault(Fault::new(action).path_contains(place));
            })
        })
    });
    play(cases);
    trap.set_nonblocking(true).unwrap();
    assert!(trap.accept().is_err(), "somebody was sent to {port}");
}

#[test]
fn redirects_within_the_registry_are_followed_three_times() {
    fn chain(stage: &Stage, place: &'static str, hops: usize) {
        let tag = Tag::of_signatures(&stage.image.digest).unwrap();
        let path = match place {
            MANIFEST => format!("/v2/team/app/manifests/{tag}"),
            _ => format!("/v2/team/app/blobs/{}", Digest::sha256(stage.payload().as_bytes())),
        };
        let hop = |number: usize| format!("/hop{number}{place}x");
        let mut stops: Vec<_> = (1..hops).map(hop).collect();
        stops.push(path);
        // Each answers one request, so that the last redirect leads to the answer.
        for (nth, stop) in (1..).zip(stops) {
            // Absolute and relative ones in turn.
            let base = if nth % 2 == 0 { stage.registry.url() } else { "" };
            let redirect = Fault::new(Action::Redirect(format!("{base}{stop}")));
            stage.registry.fault(redirect.path_contains(place).nth(nth));
        }
    }
    let too_many = (4, "limit reached: more than 3 redirects");
    let looped = |path: &str| Action::Redirect(path.to_owned());
    let cases = [
        Case::new("one hop", ALLOWED, |stage| chain(stage, PAYLOAD, 1)),
        Case::new("three hops", ALLOWED, |stage| chain(stage, MANIFEST, 3)),
        Case::new("three hops of the payload", ALLOWED, |stage| chain(stage, PAYLOAD, 3)),
        Case::new("four hops", too_many, |stage| chain(stage, MANIFEST, 4)),
        Case::new("three hops twice", ALLOWED, |stage| {
            chain(stage, MANIFEST, 3);
            chain(stage, PAYLOAD, 3);
        }),
        Case::fault("loop", MANIFEST, looped("/x.sig"), too_many),
        Case::fault("loop", PAYLOAD, looped("/blobs/x"), too_many),
        Case::fault("nowhere", MANIFEST, looped(""), NO_LOCATION),
        Case::fault("without Location", MANIFEST, Action::Answer(Response::new(302)), NO_LOCATION),
        Case::fault("a relative loop", MANIFEST, looped("x.sig"), too_many),
        Case::fault("a query for ever", MANIFEST, looped("?n=1"), too_many),
        Case::new("one hop to a sibling", ALLOWED, |stage| {
            let tag = Tag::of_signatures(&stage.image.digest).unwrap();
            let sibling = Fault::new(Action::Redirect(tag.to_string()));
            stage.registry.fault(sibling.path_contains(MANIFEST).first(1));
        }),
        Case::fault(
            "10 KB",
            MANIFEST,
            looped(&format!("http://{}", "x".repeat(10_000))),
            NOT_FOLLOWED,
        ),
        Case::fault("to nothing", MANIFEST, looped("/gone"), (1, "unsigned: ")),
    ];
    // The tag and its payload, each three redirects away.
    play(cases.map(|case| Case { reads_max: 8, ..case }));
}

#[test]
fn a_registry_that_wants_a_token_gets_one_and_one_that_wants_more_does_not() {
    let with = |registry, case| Case { registry, ..case };
    let challenge = |name: &str, header: &str, expected| {
        Case::fault(name, MANIFEST, Action::challenge(header), expected)
    };
    let answer = |body: &str| Action::Answer(Response::new(200).with_body(body.into()));
    let token = |name: &str, action, expected| Case::fault(name, TOKEN, action, expected);
    let status = |status| Action::status(status);
    play([
        with(with_tokens, Case::new("a token for everybody", ALLOWED, |_| ())),
        with(
            || Registry::builder().bearer("user", "password").start().unwrap(),
            Case::new("a token for users", (4, "token server answered 401"), |_| ()),
        ),
        with(
            || Registry::builder().basic("user", "password").start().unwrap(),
            Case::new("a password", NO_PERMISSION, |_| ()),
        ),
        with(
            with_tokens,
            Case::new("401 for ever", NO_PERMISSION, |stage| {
                let realm = format!("Bearer realm=\"{}/token\"", stage.registry.url());
                let fault = Fault::new(Action::challenge(&realm));
                stage.registry.fault(fault.path_contains("/v2/"));
            }),
        ),
        with(
            with_tokens,
            Case::new("tokens that expire at once", NO_PERMISSION, |stage| {
                stage.registry.fault(Fault::new(Action::ExpireTokens).path_contains("/v2/"));
            }),
        ),
        Case::fault("401 without a challenge", MANIFEST, status(401), NO_PERMISSION),
        challenge("an unknown scheme", "Negotiate", NO_PERMISSION),
        challenge("no realm", "Bearer service=\"x\"", NO_PERMISSION),
        challenge("no end", "Bearer realm=\"http://x", NO_PERMISSION),
        challenge("10 KB", &format!("Bearer realm=\"{}\"", "x".repeat(10_000)), NOT_FOLLOWED),
        challenge("a path", "Bearer realm=\"/token\"", NOT_FOLLOWED),
        challenge("nothing", "Bearer realm=\"\"", NOT_FOLLOWED),
        token("hang-up", Action::Hangup, NO_TOKEN),
        token("reset", Action::Reset, NO_TOKEN),
        token("cut", Action::CutBody { after: 5, ending: Ending::Close }, NO_TOKEN),
        token("endless header", Action::EndlessHead, NO_TOKEN),
        token(
            "endless body",
            Action::EndlessBody(Framing::Chunked),
            (4, "limit reached: the token, or the token server's answer"),
        ),
        token(
            "70 KB",
            answer(&format!("{{\"token\":\"{}\"}}", "x".repeat(70_000))),
            (4, "limit reached: the token, or the token server's answer"),
        ),
        token("500", status(500), (4, "token server answered 500")),
        token("403", status(403), (4, "token server answered 403")),
        token("redirect", Action::Redirect("/v2/".to_owned()), (4, "token server answered 307")),
        token("HTML", Action::Answer(Response::html(200)), NOT_A_TOKEN),
        token("garbage", answer("\0\u{1b}garbage"), NOT_A_TOKEN),
        token("no token", answer("{}"), NOT_A_TOKEN),
        token("empty token", answer("{\"token\":\"\"}"), NOT_A_TOKEN),
        token("a number", answer("{\"token\":1}"), NOT_A_TOKEN),
        token(
            "a token with more headers in it",
            answer(r#"{"token":"x\r\nX-Evil: 1"}"#),
            NOT_A_TOKEN,
        ),
        token("a token that is none", answer("{\"access_token\":\"x\"}"), NO_PERMISSION),
    ]);
}

//! What the gate does when the registry, the network or a token server misbehaves: it refuses in
//! time with a reason that says whose fault it is, and allows only where it has got the signature
//! after all. Every case is the executable against a registry of its own, and all cases of a test
//! run at once.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod elsewhere;

use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use civ_embedded_registry::fault::{Ending, Framing, Length};
use civ_embedded_registry::{Action, AtAccept, Fault, Registry, Response};
use civ_tests::image;
use civ_tests::signing::{Key, Kind, Layer, signature_manifest};
use civ_tests::stage::{Stage, Verdict};
use serde_json::json;

static RELEASE: LazyLock<Key> = LazyLock::new(|| Key::generate(Kind::P256));

// Where a fault is: a part of the path.
const MANIFEST: &str = ".sig";
const PAYLOAD: &str = "/blobs/";
const TOKEN: &str = "/token";

// Reasons.
const ALLOWED: (i32, &str) = (0, "signed by \"release\"");
const UNREADABLE: (i32, &str) = (1, "signatures unreadable");
const BROKEN: (i32, &str) = (4, "registry unreachable for");
const NO_HTTP: (i32, &str) = (4, "is no valid HTTP: ");
const OTHER_CONTENT: (i32, &str) = (4, "registry sent other content for blob");
const LIMIT: (i32, &str) = (4, "limit reached: ");
const TOO_LATE: (i32, &str) = (5, "deadline passed while asking for");

/// The tag, the payload and the list of referrers, and one of them once more.
const READS_MAX: usize = 4;

/// A registry, what goes wrong with it, and how the gate must end.
struct Case {
    name: String,
    registry: fn() -> Registry,
    level: &'static str,
    prepare: Box<dyn FnOnce(&Stage) + Send>,
    expected: (i32, &'static str),
    /// The most requests, those for tokens not counted.
    reads_max: usize,
}

impl Case {
    fn new(
        name: impl Into<String>,
        expected: (i32, &'static str),
        prepare: impl FnOnce(&Stage) + Send + 'static,
    ) -> Self {
        let registry = || Registry::start().unwrap();
        Self {
            name: name.into(),
            registry,
            level: "strict",
            prepare: Box::new(prepare),
            expected,
            reads_max: READS_MAX,
        }
    }

    /// One fault, at each request for `place`.
    fn fault(
        name: &str,
        place: &'static str,
        action: Action,
        expected: (i32, &'static str),
    ) -> Self {
        let registry = if place == TOKEN { with_tokens } else { || Registry::start().unwrap() };
        let prepare = move |stage: &Stage| {
            stage.registry.fault(Fault::new(action).path_contains(place));
        };
        Self { registry, ..Self::new(format!("{name} at {place}"), expected, prepare) }
    }

    /// What is wrong, if the gate does not end as it must.
    fn play(self) -> Result<(), String> {
        let stage = Stage::open((self.registry)());
        stage.publish(&[stage.honest(&RELEASE)]);
        (self.prepare)(&stage);
        let mut statement = stage.statement(&[("release", &RELEASE)]);
        statement["signatureVerification"]["level"] = json!(self.level);
        let outcome = stage.call(&statement);
        let (code, words) = self.expected;
        let verdict = Verdict::of(&outcome)?;
        let requests = stage.registry.requests();
        let (tokens, reads): (Vec<_>, Vec<_>) =
            requests.iter().partition(|logged| logged.request.path == TOKEN);
        let only_reads = requests.iter().all(|logged| logged.request.method == "GET");
        let good = verdict.code == code
            && verdict.reason.contains(words)
            && reads.len() <= self.reads_max
            && tokens.len() <= 2
            && only_reads;
        if good { Ok(()) } else { Err(format!("{verdict:?} in {:?}, {requests:#?}", outcome.wall)) }
    }
}

/// Everybody may pull, with a token that everybody gets.
fn with_tokens() -> Registry {
    Registry::builder().bearer("user", "password").anonymous_pull(true).start().unwrap()
}

/// Plays all cases at once, and fails with all that went wrong.
fn play(cases: impl IntoIterator<Item = Case>) {
    let failures: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = cases
            .into_iter()
            .map(|case| (case.name.clone(), scope.spawn(|| case.play())))
            .collect();
        assert!(!running.is_empty());
        let ended = running.into_iter().map(|(name, case)| (name, case.join().unwrap()));
        ended.filter_map(|(name, outcome)| Some(format!("{name}: {}", outcome.err()?))).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn an_unreachable_registry_refuses() {
    play([
        Case::new("nothing wrong", ALLOWED, |_| ()),
        Case::new("nothing listens", BROKEN, |stage| stage.registry.stop()),
        Case::new("closed at once", BROKEN, |stage| stage.registry.at_accept(AtAccept::Close)),
        Case::new("reset at once", BROKEN, |stage| stage.registry.at_accept(AtAccept::Reset)),
    ]);
}

#[test]
fn a_wrong_answer_refuses_with_a_reason_of_its_own() {
    const ENDLESS: u64 = 1 << 40;
    let cut = |ending| Action::CutBody { after: 20, ending };
    let broken = |action| (action, BROKEN, BROKEN);
    let no_http = |action| (action, NO_HTTP, NO_HTTP);
    let status = |status, reason| (Action::status(status), (4, reason), (4, reason));
    let table = [
        ("hang-up", broken(Action::Hangup)),
        ("reset", broken(Action::Reset)),
        ("no HTTP", no_http(Action::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()))),
        ("endless header", (Action::EndlessHead, LIMIT, LIMIT)),
        ("10,000 header fields", no_http(Action::ManyHeaders(10_000))),
        ("endless chunks", (Action::EndlessBody(Framing::Chunked), LIMIT, LIMIT)),
        ("endless body", (Action::EndlessBody(Framing::UntilClose), LIMIT, LIMIT)),
        ("endless length", (Action::EndlessBody(Framing::Length(ENDLESS)), LIMIT, LIMIT)),
        ("cut body", broken(cut(Ending::Close))),
        ("reset body", broken(cut(Ending::Reset))),
        ("no length", (Action::Length(Length::Absent), ALLOWED, ALLOWED)),
        ("short length", (Action::Length(Length::Short(1)), UNREADABLE, OTHER_CONTENT)),
        ("long length", broken(Action::Length(Length::Long(1)))),
        ("negative length", no_http(Action::Length(Length::Negative))),
        ("two lengths", no_http(Action::Length(Length::Twice))),
        ("garbage length", no_http(Action::Length(Length::Garbage))),
        ("garbage chunks", no_http(Action::ChunkedGarbage)),
        ("gzip bomb", (Action::GzipBomb { unpacked: 16 << 20 }, UNREADABLE, LIMIT)),
        (
            "other bytes, same header",
            (Action::Substitute(b"{}".to_vec()), UNREADABLE, OTHER_CONTENT),
        ),
        ("flipped bit, same header", (Action::FlipBit, UNREADABLE, OTHER_CONTENT)),
        ("HTML", (Action::Answer(Response::html(200)), UNREADABLE, OTHER_CONTENT)),
        ("nothing", (Action::Answer(Response::new(200)), UNREADABLE, OTHER_CONTENT)),
        ("204", status(204, "registry answered 204")),
        ("403", status(403, "registry answered 403: no permission")),
        ("404", (Action::status(404), (1, "unsigned: "), (4, "registry answered 404"))),
        ("429", status(429, "registry answered 429 TOOMANYREQUESTS")),
        ("500", status(500, "registry answered 500 UNKNOWN")),
        ("503", status(503, "registry answered 503 UNKNOWN")),
        (
            "HTML 502",
            (Action::Answer(Response::html(502)), (4, "answered 502 for"), (4, "answered 502 for")),
        ),
    ];
    play(table.into_iter().flat_map(|(name, (action, at_manifest, at_payload))| {
        [
            Case::fault(name, MANIFEST, action.clone(), at_manifest),
            Case::fault(name, PAYLOAD, action, at_payload),
        ]
    }));
}

#[test]
fn a_fault_that_passes_is_waited_for_once() {
    let too_many = Action::too_many_requests;
    let later = "registry answered 429 TOOMANYREQUESTS";
    let table = [
        ("hang-up", 1, Action::Hangup, ALLOWED),
        ("reset", 1, Action::Reset, ALLOWED),
        ("503", 1, Action::status(503), ALLOWED),
        ("503 twice", 2, Action::status(503), (4, "registry answered 503")),
        ("500", 1, Action::status(500), (4, "registry answered 500")),
        ("429", 1, Action::status(429), ALLOWED),
        ("429, now", 1, too_many("0"), ALLOWED),
        ("429, in a second", 1, too_many("1"), ALLOWED),
        ("429, in an hour", 1, too_many("3600"), (4, later)),
        ("429, never", 1, too_many("18446744073709551615"), (4, later)),
        ("429, garbage", 1, too_many("soon"), ALLOWED),
        ("429, in the past", 1, too_many("-1"), ALLOWED),
        ("429, on a date", 1, too_many("Fri, 31 Dec 1999 23:59:59 GMT"), ALLOWED),
    ];
    play(table.into_iter().flat_map(|(name, times, action, expected)| {
        [MANIFEST, PAYLOAD].map(|place| {
            let action = action.clone();
            Case::new(format!("{name} at {place}"), expected, move |stage| {
                let fault = Fault::new(action).path_contains(place).first(times);
                stage.registry.fault(fault);
            })
        })
    }));
}

#[test]
fn the_deadline_passes_with_a_reason_before_containerd_kills() {
    let slow = || Action::SlowBytes { interval: Duration::from_millis(500) };
    let stalls = || Action::CutBody { after: 20, ending: Ending::Silence };
    let late = || Action::Delay(Duration::from_mins(1));
    let at_accept = |level| Case {
        level,
        ..Case::new("silence at accept", TOO_LATE, |stage| {
            stage.registry.at_accept(AtAccept::Silence);
        })
    };
    let audited = (0, "audit only, would refuse: deadline passed while asking for");
    play([
        at_accept("strict"),
        Case { expected: audited, ..at_accept("audit") },
        Case::fault("silence", MANIFEST, Action::Silence, TOO_LATE),
        Case::fault("silence", PAYLOAD, Action::Silence, TOO_LATE),
        Case::fault("silence", TOKEN, Action::Silence, TOO_LATE),
        Case::fault("slow bytes", MANIFEST, slow(), TOO_LATE),
        Case::fault("slow bytes", PAYLOAD, slow(), TOO_LATE),
        Case::fault("slow bytes", TOKEN, slow(), TOO_LATE),
        Case::fault("stalled body", MANIFEST, stalls(), TOO_LATE),
        Case::fault("stalled body", PAYLOAD, stalls(), TOO_LATE),
        Case::fault("stalled body", TOKEN, stalls(), TOO_LATE),
        Case::fault("late answer", MANIFEST, late(), TOO_LATE),
        Case::new("slow after slow", TOO_LATE, |stage| {
            for place in [MANIFEST, PAYLOAD] {
                let late = Action::Delay(Duration::from_secs(5));
                stage.registry.fault(Fault::new(late).path_contains(place));
            }
        }),
    ]);
}

#[test]
fn sizes_are_bounded_exactly() {
    fn of_size(stage: &Stage, size: usize) {
        let mut manifest = signature_manifest(&[stage.honest(&RELEASE)]).to_string();
        manifest.push_str(&" ".repeat(size - manifest.len()));
        stage.publish_bytes(&stage.image, image::MANIFEST, manifest);
    }
    fn payload_of_size(stage: &Stage, size: usize) {
        let mut payload = stage.payload();
        payload.push_str(&" ".repeat(size - payload.len()));
        stage.publish(&[Layer::signed(&RELEASE, payload)]);
    }
    let sends = |name, size, expected| {
        Case::fault(name, PAYLOAD, Action::Substitute(vec![b' '; size]), expected)
    };
    play([
        Case::new("manifest of 4 MiB", ALLOWED, |stage| of_size(stage, 4 << 20)),
        Case::new("manifest of 4 MiB and a byte", LIMIT, |stage| of_size(stage, (4 << 20) + 1)),
        Case::new("payload of 64 KiB", ALLOWED, |stage| payload_of_size(stage, 64 << 10)),
        sends("64 KiB instead", 64 << 10, OTHER_CONTENT),
        sends("64 KiB and a byte instead", (64 << 10) + 1, (4, "is larger than 65536 bytes")),
    ]);
}

#[test]
fn an_error_of_the_registry_is_shown_escaped_and_cut() {
    let code = "\u{1b}[2J\nallowed: signed by \"release\"\u{202e}";
    let body = json!({ "errors": [{ "code": code.repeat(100) }] }).to_string();
    let injected = (4, r"registry answered 500 \u{1b}[2J\u{a}allowed");
    let huge = json!({ "errors": [{ "code": "x".repeat(70_000) }] }).to_string();
    let cut = "HTTP/1.1 500 E\r\nContent-Length: 99\r\n\r\n{\"errors\":[{\"code\":\"x";
    let answer = |body: String| Action::Answer(Response::new(500).with_body(body.into()));
    play([
        Case::fault("control characters", MANIFEST, answer(body), injected),
        Case::fault("70 KB", MANIFEST, answer(huge), (4, "registry answered 500 for")),
        Case::fault("cut", MANIFEST, Action::Raw(cut.into()), (4, "registry answered 500 for")),
    ]);
}

use super::*;

const HERE: Elf = Elf { machine: Machine::X86_64, is_dynamic: false };

fn settings(max_verifiers: Option<usize>) -> Settings {
    Settings { bin_dir: "/bin".into(), bin_dir_set: None, max_verifiers, max_verifiers_set: None }
}

fn file(name: &str, content: Content) -> Entry {
    let found = Found::File { executable: true, stranger: None, content };
    Entry { name: name.to_owned(), found }
}

fn ours(name: &str) -> Entry {
    file(name, Content::Executable(HERE, Some(Kind::Cosign)))
}

fn judged(entries: Vec<Entry>, max: Option<usize>) -> (Vec<String>, Vec<(Severity, Code)>) {
    let directory =
        Directory { path: "/bin".into(), resolved: "/bin".into(), stranger: None, entries };
    let (ours, findings) = directory.judge(&settings(max), Some(Machine::X86_64));
    let plugins = ours.iter().map(|ours| ours.plugin.to_string()).collect();
    let bad = findings.iter().filter(|finding| finding.severity != Severity::Ok);
    (plugins, bad.map(|finding| (finding.severity, finding.code)).collect())
}

#[test]
fn a_directory_with_a_verifier_of_civs_is_good_and_one_without_is_open() {
    let (plugins, bad) =
        judged(vec![ours("cosign-image-verifier"), ours("team-a-image-verifier")], None);
    assert_eq!((plugins, bad), (vec!["cosign".to_owned(), "team-a".to_owned()], vec![]));
    assert_eq!(judged(vec![], None).1, [(Severity::Failure, Code::DirectoryEmpty)]);
    let stranger = file("notation-image-verifier", Content::Executable(HERE, None));
    assert_eq!(
        judged(vec![stranger], None).1,
        [(Severity::Note, Code::VerifierStranger), (Severity::Failure, Code::VerifierNone)]
    );
}

#[test]
fn what_sorts_after_the_limit_is_never_called() {
    let skipped = (Severity::Failure, Code::VerifierSkipped);
    let none = (Severity::Failure, Code::VerifierNone);
    let two = || vec![ours("a-image-verifier"), ours("b-image-verifier")];
    assert_eq!(judged(two(), Some(1)), (vec!["a".to_owned()], vec![skipped]));
    assert_eq!(judged(two(), Some(0)), (vec![], vec![skipped, skipped, none]));
    assert_eq!(judged(two(), Some(2)).1, []);
}

#[test]
fn what_cannot_be_executed_blocks_every_pull() {
    let arm = Elf { machine: Machine::Aarch64, is_dynamic: false };
    let not_executable =
        Found::File { executable: false, stranger: None, content: Content::Executable(HERE, None) };
    for (found, code) in [
        (Found::Nothing(io::ErrorKind::NotFound), Code::VerifierNotFile),
        (Found::NoFile, Code::VerifierNotFile),
        (not_executable, Code::VerifierNotExecutable),
        (file("", Content::Neither(ElfError::NotElf)).found, Code::VerifierFormat),
        (file("", Content::Executable(arm, Some(Kind::Cosign))).found, Code::VerifierFormat),
    ] {
        let stray = Entry { name: "stray".to_owned(), found: found.clone() };
        let (_, bad) = judged(vec![ours("cosign-image-verifier"), stray], None);
        assert_eq!(bad, [(Severity::Blocked, code)], "{found:?}");
    }
    let (_, bad) =
        judged(vec![ours("cosign-image-verifier"), ours("cosign-image-verifier.bak")], None);
    assert_eq!(bad, [(Severity::Blocked, Code::VerifierName)]);
}

#[test]
fn what_needs_others_or_can_be_changed_by_them_is_told() {
    let dynamic = Content::Executable(Elf { is_dynamic: true, ..HERE }, Some(Kind::Cosign));
    let warned = (Severity::Warning, Code::VerifierDependent);
    assert_eq!(judged(vec![file("cosign-image-verifier", dynamic)], None).1, [warned]);
    let (_, bad) = judged(vec![ours("cosign-image-verifier"), file("x", Content::Script)], None);
    assert_eq!(bad, [warned]);
    let stranger = Some(Stranger { path: "/bin/x".into(), problem: "owned by user 7".to_owned() });
    let changed = Found::File {
        executable: true,
        stranger,
        content: Content::Executable(HERE, Some(Kind::Cosign)),
    };
    let entry = Entry { name: "x-image-verifier".to_owned(), found: changed };
    assert_eq!(judged(vec![entry], None).1, [(Severity::Failure, Code::VerifierWritable)]);
}

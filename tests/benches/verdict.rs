//! What a verdict costs, beside what the peer's costs, in one run on one machine:
//! `cargo bench -p civ-tests --bench verdict`, after `tests/programs`, `cargo gate` and
//! `cargo build -p civ`. It needs root, or a system that lets its users make
//! namespaces; KMS is left out then.
//!
//! A real registry on loopback holds an image that the real cosign signed with a P-256 key. Each
//! program is started as containerd starts a verifier, and each must say yes. This measures and
//! prints; no time is asserted.
//!
//! Beside that image are one that `civ sign` signed, as it does by default, and one that has a bundle
//! alone. The former is also asked for over TLS: by a name of this namespace, at a server before the
//! registry whose authority has been added to the system's bundle, which is read as on a node.
//!
//! annotations-image-verifier is asked about the same image with a rule of each kind, and about an
//! index with a rule on the labels of what this node would run. `crane manifest` fetches the same image's manifest and judges nothing.
//!
//! The same image is also judged by policies that leave the key to KMS, which here is a server within
//! this process: once with the answer kept under /run/civ, and once with something in its way, so that
//! KMS is asked each time. So the bench runs in a mount namespace with a /run of its own.
//!
//! - Wall: from before the fork until the process is reaped.
//! - CPU: user and system time of that process as wait4 says it, so what fork and exec cost is in
//!   it; `/bin/true` shows how much that is. A verifier that is given an environment starts itself
//!   anew without it, hence its two lines.
//! - Peak memory: see [`Scene::peak_memory`].

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench that cannot do its work ends, by a panic that says what to do"
)]

use std::{
    env,
    fs::{self, File, Permissions},
    io::{self, Write as _, pipe},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use civ_oci::Digest;
use civ_tests::{
    civ::Civ,
    cosign::{Cosign, Signing},
    docker_registry::DockerRegistry,
    gate,
    http_server::HttpServer,
    https::{Authority, HttpsServer},
    image, programs, scratch,
    signing::Kind,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use wait4::Wait4 as _;

/// How often each program is run, in turn with the others.
const RUNS: usize = 200;
/// How many of a program are run at once.
const AT_ONCE: usize = 50;
/// How often each program is run for its memory, and for its requests.
const SAMPLES: usize = 5;

const TITLES: [[&str; 9]; 2] = [
    ["", "wall", "wall", "CPU", "peak", "size", "requests", "wall of", "CPU of"],
    ["", "median", "p99", "median", "memory", "", "", "50", "50"],
];

/// The key that KMS has.
const ARN: &str = "arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// The registry's name over TLS.
const HOST: &str = "r.example.test";
/// What this program says to itself once it is in its namespace.
const INSIDE: &str = "--inside";
/// The same, where root started it: a verifier believes a KMS on loopback only as root's.
const INSIDE_AS_ROOT: &str = "--inside-as-root";

/// A program, and how it is asked.
struct Contender {
    name: String,
    executable: PathBuf,
    arguments: Vec<String>,
    env: Vec<(&'static str, String)>,
}

/// What some runs cost.
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// A registry with a signed image, and who can be asked about it.
struct Scene {
    registry: DockerRegistry,
    /// What containerd writes to a verifier's stdin.
    descriptor: PathBuf,
    contenders: Vec<Contender>,
    /// These hold policies and keys.
    _files: (TempDir, Cosign),
    _kms: HttpServer,
}

fn main() {
    let is_root = env::args().any(|argument| argument == INSIDE_AS_ROOT);
    if !is_root && env::args().all(|argument| argument != INSIDE) {
        enter();
    }
    let scene = Scene::new(is_root);
    println!("{}", machine());
    println!("{RUNS} runs of each in turn, then {AT_ONCE} of each at once; all say yes");
    println!("{}", if is_root { "" } else { "KMS is left out: that takes root\n" });
    let mut costs: Vec<Vec<Cost>> = scene.contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..RUNS {
        for (contender, costs) in scene.contenders.iter().zip(&mut costs) {
            costs.push(scene.run(contender, 1));
        }
    }
    let mut table: Vec<_> = TITLES.iter().map(|titles| titles.map(str::to_owned)).collect();
    for (contender, costs) in scene.contenders.iter().zip(&costs) {
        let mut walls: Vec<_> = costs.iter().map(|cost| cost.wall).collect();
        let mut cpus: Vec<_> = costs.iter().map(|cost| cost.cpu).collect();
        walls.sort_unstable();
        cpus.sort_unstable();
        let at_once = scene.run(contender, AT_ONCE);
        let size = fs::metadata(&contender.executable).expect("it has been run").len();
        table.push([
            contender.name.clone(),
            milliseconds(percentile(&walls, 50)),
            milliseconds(percentile(&walls, 99)),
            milliseconds(percentile(&cpus, 50)),
            megabytes(scene.peak_memory(contender)),
            megabytes(size),
            scene.requests(contender),
            milliseconds(at_once.wall),
            milliseconds(at_once.cpu),
        ]);
    }
    print_aligned(&table);
}

/// Starts this program anew where /run is its own.
fn enter() -> ! {
    const ENTER: &str = r#"mount -t tmpfs -o mode=0755 tmpfs /run; exec "$@""#;
    let is_root = rustix::process::geteuid().is_root();
    let unshare = || {
        let mut unshare = Command::new("unshare");
        if !is_root {
            unshare.arg("--map-root-user");
        }
        unshare.args(["--mount", "--"]);
        unshare
    };
    let tried = unshare().arg("true").output().expect("unshare (util-linux) is needed");
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr);
        eprintln!(
            "{}: the bench needs a mount namespace: run it as root, or let users make namespaces \
             (kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)",
            why.trim()
        );
        std::process::exit(1);
    }
    let this = env::current_exe().expect("a program has a path");
    let inside = if is_root { INSIDE_AS_ROOT } else { INSIDE };
    let error = unshare().args(["sh", "-euc", ENTER, "sh"]).arg(this).arg(inside).exec();
    panic!("cannot run unshare: {error}");
}

/// Lets `host` lead to this machine, and has the system know `authority`, in this namespace.
fn know(directory: &Path, host: &str, authority: &Authority) {
    let bundles = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];
    let bundle = bundles.iter().find(|path| Path::new(path).is_file());
    let bundle = *bundle.expect("the system has a bundle of certificate authorities");
    for (over, more) in [(bundle, authority.pem()), ("/etc/hosts", format!("127.0.0.1 {host}\n"))] {
        let mut text = fs::read_to_string(over).expect("a file of the system's");
        text.push_str(&more);
        let ours = directory.join(over.replace('/', "-"));
        fs::write(&ours, text).expect("a file in a directory of ours");
        let mut mount = Command::new("mount");
        programs::run(mount.arg("--bind").arg(ours).arg(over)).expect_success("mount --bind");
    }
}

/// One rule of each kind that an image without annotations can meet.
fn annotation_rules() -> Value {
    json!([
        { "annotation": "deprecated", "from": "manifest", "absent": true },
        { "anyOf": [
            { "annotation": "team", "oneOf": ["a", "b"] },
            { "annotation": "org.opencontainers.image.source", "matches": "https://github\\.com/.*" },
            { "annotation": "org.opencontainers.image.created", "maxAge": "90d" },
            { "annotation": "org.opencontainers.image.version", "version": ">=1.2, <2" },
            { "annotation": "deprecated", "from": "manifest", "absent": true },
        ] },
    ])
}

impl Scene {
    fn new(is_root: bool) -> Self {
        let registry = DockerRegistry::start();
        let app = image::push(registry.address(), "team/app", "1", "an app");
        let index = image::push_index(registry.address(), "team/index", "1", "an app");
        let cosign = Cosign::new();
        let key = cosign.generate_key_pair("release");
        cosign.sign(key.signing(), &app.by_digest(), Signing::default());

        let directory = scratch::directory();
        let write = |name: &str, document: Value| {
            let path = directory.path().join(name);
            fs::write(&path, document.to_string()).expect("a file in a directory of ours");
            path
        };
        let descriptor = write(
            "descriptor",
            json!({ "mediaType": image::MANIFEST, "digest": app.digest, "size": 331 }),
        );
        let listed =
            write("listed", json!({ "version": "1.0", "trustedDigests": [app.digest.clone()] }));
        // The one that is asked about is the last.
        let many: Vec<_> = (1..10_000_u32)
            .map(|n| Digest::sha256(&n.to_be_bytes()).to_string())
            .chain([app.digest.clone()])
            .collect();
        let listed_last = write("many", json!({ "version": "1.0", "trustedDigests": many }));
        let described_by = |name: &str, rules: Value| {
            let policy = json!({ "version": "1.0", "trustPolicies": [{
                "name": "owned",
                "registryScopes": [format!("{}/**", registry.address())],
                "rules": rules,
            }]});
            write(name, policy)
        };
        let annotated = described_by("annotated", annotation_rules());
        let labelled = described_by(
            "labelled",
            json!([{ "annotation": "team", "from": "labels", "platforms": "node", "absent": true }]),
        );
        let signed_by = |name: &str, key: Value| {
            let policy = json!({ "version": "1.0", "trustPolicies": [{
                "name": "production",
                "registryScopes": [format!("{}/**", registry.address())],
                "signatureVerification": { "level": "strict" },
                "keys": [key],
            }]});
            write(name, policy)
        };
        let signed = signed_by("signed", json!({ "name": "k", "publicKey": key.public_pem }));
        let civ = Civ::new();
        let ours = civ.new_key("p.pem", Kind::P256);
        let ours = ours.to_str().expect("a temporary path is UTF-8");
        let public = civ.run(["public-key", "--key", ours]).expect_success("civ public-key").stdout;
        let sign = |path: &str, more: &[&str]| {
            let image = image::push(registry.address(), path, "1", "an app");
            let name = image.by_digest();
            let arguments = [&["sign", &name, "--key", ours], more].concat();
            civ.run(arguments).expect_success("civ sign");
            image
        };
        let by_civ = sign("team/civ", &[]);
        let by_civ_bundle = sign("team/bundle", &["--format", "bundle"]);
        let signed_by_civ = signed_by("by-civ", json!({ "name": "k", "publicKey": public }));
        let vouching = Authority::new("the bench's");
        let tls = HttpsServer::start(&vouching.certify(HOST), registry.address());
        know(directory.path(), HOST, &vouching);
        let remote = by_civ.tag.replace(registry.address(), &format!("{HOST}:{}", tls.port()));
        let over_tls = write(
            "over-tls",
            json!({ "version": "1.0", "trustPolicies": [{
                "name": "production",
                "registryScopes": ["*"],
                "signatureVerification": { "level": "strict" },
                "signedIdentity": { "type": "any" },
                "keys": [{ "name": "k", "publicKey": public }],
            }]}),
        );
        let spki: String = key.public_pem.lines().filter(|line| !line.starts_with('-')).collect();
        let answer = json!({ "KeyId": ARN, "KeyUsage": "SIGN_VERIFY", "PublicKey": spki });
        let kms = HttpServer::start(move |_| (200, answer.to_string()));
        let uri = format!("awskms://{}/{ARN}", kms.authority());
        let cached = signed_by("cached", json!({ "name": "k", "kms": uri }));
        // An entry that cannot be replaced: where the file would be there is a directory.
        let uri = uri.replace("127.0.0.1", "localhost");
        let uncached = signed_by("uncached", json!({ "name": "k", "kms": uri }));
        let in_the_way = Path::new("/run/civ").join(Digest::sha256(uri.as_bytes()).hex());
        fs::create_dir_all(in_the_way).expect("/run is a directory of ours");
        fs::set_permissions("/run/civ", Permissions::from_mode(0o700)).expect("it is ours");

        let path = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin".to_owned());
        let home = ("HOME", directory.path().display().to_string());
        let contender = |name: &str, executable: PathBuf, arguments: &[&str], env: &[_]| {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            Contender { name: name.to_owned(), executable, arguments, env: env.to_vec() }
        };
        // With the environment that containerd hands on, and without.
        let verifier = |name: &str, policy: &Path| {
            let policy = policy.to_str().expect("a temporary path is UTF-8");
            let call = ["-name", &app.tag, "-digest", &app.digest, "-stdin-media-type"];
            let call = [&call[..], &[gate::DESCRIPTOR, "-policy", policy]].concat();
            let executable = gate::executable(name);
            let full = std::slice::from_ref(&path);
            [
                contender(name, executable.clone(), &call, full),
                contender(&format!("  {name}, env -i"), executable, &call, &[]),
            ]
        };
        let mut contenders =
            vec![contender("/bin/true", "/bin/true".into(), &[], std::slice::from_ref(&path))];
        contenders.extend(verifier("digestion-image-verifier", &listed));
        let policy = listed_last.to_str().expect("a temporary path is UTF-8");
        contenders.push(contender(
            "  digestion, 10,000 digests",
            gate::executable("digestion-image-verifier"),
            &["-name", &app.tag, "-digest", &app.digest, "-policy", policy],
            &[],
        ));
        contenders.extend(verifier("cosign-image-verifier", &signed));
        for (name, tag, digest, policy) in [
            ("  signed by civ, env -i", &by_civ.tag, &by_civ.digest, &signed_by_civ),
            ("  signed by civ, over TLS, env -i", &remote, &by_civ.digest, &over_tls),
            ("  bundle only, env -i", &by_civ_bundle.tag, &by_civ_bundle.digest, &signed_by_civ),
        ] {
            let policy = policy.to_str().expect("a temporary path is UTF-8");
            let call = ["-name", tag, "-digest", digest, "-policy", policy];
            let executable = gate::executable("cosign-image-verifier");
            contenders.push(contender(name, executable, &call, &[]));
        }
        let credentials = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let credentials = credentials.map(|name| (name, "test".to_owned()));
        let of_kms = [("  KMS key, kept", &cached), ("  KMS key, asked for", &uncached)];
        for (name, policy) in of_kms.into_iter().filter(|_| is_root) {
            let policy = policy.to_str().expect("a temporary path is UTF-8");
            let call = ["-name", &app.tag, "-digest", &app.digest, "-policy", policy];
            let executable = gate::executable("cosign-image-verifier");
            contenders.push(contender(name, executable, &call, &credentials));
        }
        contenders.extend(verifier("annotations-image-verifier", &annotated));
        let policy = labelled.to_str().expect("a temporary path is UTF-8");
        let call = ["-name", &index.tag, "-digest", &index.digest, "-policy", policy];
        let executable = gate::executable("annotations-image-verifier");
        contenders.push(contender("  labels below an index, env -i", executable, &call, &[]));
        contenders.push(contender(
            "cosign verify --key",
            programs::find("cosign"),
            &["verify", "--insecure-ignore-tlog", "--key", key.verifying(), &app.by_digest()],
            &[path.clone(), home.clone()],
        ));
        contenders.push(contender(
            "crane manifest",
            programs::find("crane"),
            &["manifest", &app.by_digest()],
            &[path, home],
        ));
        Self { registry, descriptor, contenders, _files: (directory, cosign), _kms: kms }
    }

    fn spawn(&self, contender: &Contender, arguments: &[String], stdout: Stdio) -> Child {
        Command::new(&contender.executable)
            .args(arguments)
            .env_clear()
            .envs(contender.env.iter().cloned())
            .stdin(File::open(&self.descriptor).expect("it was written"))
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", contender.name))
    }

    /// Starts it `times` times at once, and waits for the last to end.
    fn run(&self, contender: &Contender, times: usize) -> Cost {
        let start = Instant::now();
        let children: Vec<_> = (0..times)
            .map(|_| self.spawn(contender, &contender.arguments, Stdio::null()))
            .collect();
        let mut cpu = Duration::ZERO;
        for child in children {
            let ended = child.wait4().expect("a child of ours");
            assert!(
                ended.status.success(),
                "{} says no: {}",
                contender.name,
                self.reason(contender)
            );
            cpu += ended.rusage.utime + ended.rusage.stime;
        }
        Cost { wall: start.elapsed(), cpu }
    }

    /// What it says when it is asked once more.
    fn reason(&self, contender: &Contender) -> String {
        let child = self.spawn(contender, &contender.arguments, Stdio::piped());
        let output = child.wait_with_output().expect("a child of ours");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The most memory that it has had resident, in bytes: the median of some runs that are not
    /// timed.
    ///
    /// What wait4 says of it would not do, as that is never less than what the parent had at the
    /// fork. The kernel's own mark is in `/proc/PID/status` (`VmHWM`, which exec resets), but only as
    /// long as the process lives. So its stdout is a pipe that is full already: when it comes to say
    /// its verdict, all else done, it has to wait, and can be looked at. `/bin/true` has nothing to
    /// say unless it is asked for its version.
    fn peak_memory(&self, contender: &Contender) -> u64 {
        let version = ["--version".to_owned()];
        let arguments =
            if contender.arguments.is_empty() { &version[..] } else { &contender.arguments };
        let peaks = (0..SAMPLES).map(|_| {
            let (mut reader, mut writer) = pipe().expect("a pipe");
            let capacity = rustix::pipe::fcntl_getpipe_size(&writer).expect("a pipe of ours");
            writer.write_all(&vec![0; capacity]).expect("as much as fits");
            let mut child = self.spawn(contender, arguments, writer.into());
            let process = PathBuf::from(format!("/proc/{}", child.id()));
            let deadline = Instant::now() + Duration::from_secs(10);
            // A verifier polls; so does whoever connects, but not for as long.
            while !(waits_for_a_reader(&process) && {
                thread::sleep(Duration::from_millis(20));
                waits_for_a_reader(&process)
            }) {
                assert!(Instant::now() < deadline, "{} does not come to write", contender.name);
                thread::sleep(Duration::from_millis(1));
            }
            let status = fs::read_to_string(process.join("status")).expect("it cannot have ended");
            io::copy(&mut reader, &mut io::sink()).expect("a pipe of ours");
            let ended = child.wait().expect("a child of ours");
            assert!(ended.success(), "{} says no: {ended}", contender.name);
            let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = mark.and_then(|mark| mark.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kib.expect("the kernel says VmHWM in kB") * 1024
        });
        let mut peaks: Vec<_> = peaks.collect();
        peaks.sort_unstable();
        peaks[SAMPLES / 2]
    }

    /// How many requests it makes, as the registry's log counts them.
    fn requests(&self, contender: &Contender) -> String {
        let before = self.registry.count();
        for _ in 0..SAMPLES {
            self.run(contender, 1);
        }
        // The log is in order, so when this request is in it so are those before.
        let mark = format!("/v2/?after={before}");
        ureq::get(format!("http://{}{mark}", self.registry.address())).call().expect("it answers");
        let made = loop {
            let requests = self.registry.requests();
            if let Some(mark) = requests.iter().position(|request| request.target == mark) {
                break mark - before;
            }
            thread::sleep(Duration::from_millis(1));
        };
        if made.is_multiple_of(SAMPLES) {
            (made / SAMPLES).to_string()
        } else {
            format!("{made}/{SAMPLES}")
        }
    }
}

/// Is a thread of the process at `process` waiting to write to a pipe, or until it may?
fn waits_for_a_reader(process: &Path) -> bool {
    let tasks = fs::read_dir(process.join("task")).expect("it cannot have ended");
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("wchan")).ok())
        .any(|place| place.contains("pipe_write") || place.contains("poll_schedule_timeout"))
}

/// The smallest value that `percent` of 100 do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, model)| model);
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let (kernel, load) = (read("/proc/sys/kernel/osrelease"), read("/proc/loadavg"));
    let load = load.split(' ').next().unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}, load {load} at the start", kernel.trim())
}

fn print_aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) {
    let widths: Vec<_> = (0..COLUMNS)
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default())
        .collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

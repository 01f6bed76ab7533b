//! Writing to stdout and stderr without waiting for whoever reads them.
//!
//! Both belong to somebody else: a pipe that nobody empties, a terminal that is stopped, a file
//! descriptor that was closed. What is said there may get lost, but it must neither keep the verdict
//! waiting nor pass for said. So nothing goes through [`std::io::stdout`] and [`std::io::stderr`]: they
//! share a lock that a thread may hold for ever, and take a descriptor that cannot be written to for one
//! that could.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, major, minor};
use rustix::io::Errno;

/// As much as a pipe that is not full takes at once (`PIPE_BUF`).
const AT_ONCE: usize = 4096;
/// Linux, `Documentation/admin-guide/devices.txt`: `/dev/null`.
const DEV_NULL: (u32, u32) = (1, 3);

/// Writes all of `text` to stdout, waiting for its reader until `deadline` at most.
pub(crate) fn print(text: &str, deadline: Instant) -> io::Result<()> {
    let stdout = io::stdout();
    if was_closed(stdout.as_fd())? {
        return Err(io::Error::other("it is closed, or /dev/null opened for reading as well"));
    }
    write(stdout.as_fd(), text.as_bytes(), deadline)
}

/// Writes a line to stderr, or as much of it as is taken without waiting.
pub(crate) fn log(line: &str) {
    // A short line is one write, so that lines of several verifiers do not mix.
    let line = format!("{line}\n");
    let _ = write(io::stderr().as_fd(), line.as_bytes(), Instant::now());
}

/// Over a descriptor that is closed Rust's runtime opens `/dev/null` before `main`, for reading and
/// writing. A shell opens it for writing only.
fn was_closed(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = fstat(fd)?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == DEV_NULL;
    Ok(is_null && fcntl_getfl(fd)? & OFlags::RWMODE == OFlags::RDWR)
}

fn write(fd: BorrowedFd<'_>, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        wait_until_writable(fd, deadline)?;
        let (now, _) = bytes.split_at_checked(AT_ONCE).unwrap_or((bytes, &[]));
        match rustix::io::write(fd, now) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait_until_writable(fd: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
    loop {
        let patience = deadline.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&timespec(patience))) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it")),
            // Whether it can be written to or is broken: writing says which.
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, pipe};

    use super::*;

    #[test]
    fn a_pipe_that_nobody_empties_is_waited_for_until_the_deadline_and_takes_what_fits() {
        let (mut reader, writer) = pipe().unwrap();
        let (fd, long) = (writer.as_fd(), vec![b'x'; 1 << 20]);
        let error = write(fd, &long, Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(write(fd, b"x", soon).is_err());
        assert!(Instant::now() >= soon);

        let mut taken = vec![0; AT_ONCE];
        reader.read_exact(&mut taken).unwrap();
        assert!(write(fd, b"again", Instant::now()).is_ok());
        drop(reader);
        let error = write(fd, b"x", Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_descriptor_that_cannot_be_written_to_is_an_error() {
        for path in ["/dev/null", "/dev/full"] {
            let fd = File::open(path).unwrap();
            assert!(write(fd.as_fd(), b"x", Instant::now()).is_err(), "{path}");
        }
        let open = |read| File::options().read(read).write(true).open("/dev/null").unwrap();
        assert!(was_closed(open(true).as_fd()).unwrap());
        assert!(!was_closed(open(false).as_fd()).unwrap());
        assert!(!was_closed(pipe().unwrap().1.as_fd()).unwrap());
    }
}

//! containerd's configuration: two files, the first of which imports the second.
#![no_main]

use std::io;
use std::path::Path;

use civ_doctor::config::{Config, Files};
use civ_doctor::settings;

struct Two<'a>(&'a str, &'a str);

impl Files for Two<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("/c.toml") => Ok(self.0.into()),
            Some("/imported.toml") => Ok(self.1.into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn names(&self, _: &Path) -> Vec<String> {
        vec!["imported.toml".to_owned()]
    }
}

libfuzzer_sys::fuzz_target!(|files: (&str, &str)| {
    let config = Config::load(&Two(files.0, files.1), Path::new("/c.toml"));
    assert!(config.files.len() <= 2);
    let (_, findings) = settings::judge(&config, None);
    assert!(!findings.is_empty());
});

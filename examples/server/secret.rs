//! The secret of the server: one file, from which everything is derived that has to survive a restart and be the same on all nodes.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::StartError;
use crate::session::{random_bytes, random_text};

/// A file in the current directory, beside the default database.
const DEFAULT: &str = "grantor.secret";

/// Reads the secret, or makes one on the first start. A storage that ends with the process needs none that lasts.
pub(crate) fn load(file: Option<&Path>, is_lasting: bool) -> Result<[u8; 32], StartError> {
    let file = match file {
        Some(file) => file,
        None if is_lasting => Path::new(DEFAULT),
        None => return Ok(random_bytes()),
    };
    let problem = |error: std::io::Error| format!("the file of the secret {}: {error}", file.display());
    match create(file) {
        Ok(secret) => return Ok(secret),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(problem(error).into()),
    }
    let secret: Result<[u8; 32], _> = fs::read(file).map_err(problem)?.try_into();
    secret.map_err(|_| format!("the file of the secret {} has not 32 bytes", file.display()).into())
}

/// Writes a new secret, which nobody else may read. Fails if the file is there. It gets its name when it is whole, because another server
/// may be starting.
fn create(file: &Path) -> std::io::Result<[u8; 32]> {
    if file.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let secret = random_bytes();
    // Not the number of the process: in a container it is the same after each start.
    let unfinished = file.with_extension(format!("{}.new", random_text()));
    let mut new = options.open(&unfinished)?;
    let written = new.write_all(&secret).and_then(|()| new.sync_all());
    let named = written.and_then(|()| fs::hard_link(&unfinished, file));
    fs::remove_file(&unfinished)?;
    named.map(|()| secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_made_once_and_read_from_then_on() {
        let folder = std::env::temp_dir().join(format!("grantor-secret-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("secret");
        // What a start has left that was cut off does not stop the next one.
        fs::write(folder.join(format!("secret.{}.new", std::process::id())), []).unwrap();
        let first = load(Some(&file), true).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert_eq!(load(Some(&file), false).unwrap(), first);
        fs::write(&file, [1; 31]).unwrap();
        assert!(load(Some(&file), true).unwrap_err().to_string().contains("has not 32 bytes"));
        fs::remove_dir_all(&folder).unwrap();
        assert!(load(Some(&file), true).is_err());
        assert_ne!(load(None, false).unwrap(), load(None, false).unwrap());
    }
}

//! The secret of the server, in a file. Everything that must survive a restart and be equal on all nodes is derived
//! from it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use crate::StartError;
use crate::session::{random_bytes, random_text};

/// A file in the current directory, beside the default database.
const DEFAULT: &str = "grantor.secret";

/// Bytes of the secret.
const LENGTH: usize = 32;

/// Reads the secret, or makes one on the first start. Without a lasting storage and a file, the secret is random and
/// not stored.
pub(crate) fn load(file: Option<&Path>, is_lasting: bool) -> Result<[u8; LENGTH], StartError> {
    let file = match file {
        Some(file) => file,
        None if is_lasting => Path::new(DEFAULT),
        None => return Ok(random_bytes()),
    };
    let problem = |error: io::Error| format!("the secret file {} can't be read or written: {error}", file.display());
    match create(file) {
        Ok(secret) => return Ok(secret),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(problem(error).into()),
    }
    let opened = File::open(file).map_err(problem)?;
    if let Some(mode) = shared_mode(&opened).map_err(problem)? {
        return Err(format!(
            "other users can change the secret file {0} (mode {mode:04o}): run `chmod go-w {0}`, or remove the file if one of \
             them may have changed it",
            file.display()
        )
        .into());
    }
    let mut secret = Vec::with_capacity(LENGTH);
    opened.take(LENGTH as u64 + 1).read_to_end(&mut secret).map_err(problem)?;
    let secret: Result<[u8; LENGTH], _> = secret.try_into();
    secret.map_err(|_| {
        format!(
            "the secret file {} must have {LENGTH} bytes: restore it, or remove it to get a new secret",
            file.display()
        )
        .into()
    })
}

/// Returns the permissions of a file if other users than its owner can change it: a user who replaces the secret knows
/// all keys that are derived from it. Other users may read the file, because containers get their secrets in files that
/// every user of the container can read. For a symlink, the permissions of its target count.
#[cfg(unix)]
fn shared_mode(opened: &File) -> io::Result<Option<u32>> {
    let mode = std::os::unix::fs::MetadataExt::mode(&opened.metadata()?) & 0o7777;
    Ok((mode & 0o022 != 0).then_some(mode))
}

#[cfg(not(unix))]
fn shared_mode(_: &File) -> io::Result<Option<u32>> {
    Ok(None)
}

/// Writes a new secret, which only the owner of the file may read. Fails if the file exists. Renames the file only when
/// it is complete, because another server may start at the same time.
fn create(file: &Path) -> io::Result<[u8; LENGTH]> {
    if file.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let secret = random_bytes();
    // The process number is the same after each start of a container, so it does not make the name unique.
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
        // A file that an interrupted start left behind does not stop the next start.
        fs::write(folder.join(format!("secret.{}.new", std::process::id())), []).unwrap();
        let first = load(Some(&file), true).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert_eq!(load(Some(&file), false).unwrap(), first);
        fs::write(&file, [1; 31]).unwrap();
        assert!(load(Some(&file), true).unwrap_err().to_string().contains("must have 32 bytes"));
        fs::remove_dir_all(&folder).unwrap();
        assert!(load(Some(&file), true).is_err());
        assert_ne!(load(None, false).unwrap(), load(None, false).unwrap());
    }

    // Guards: other users of the machine write the secret and so know it.
    #[cfg(unix)]
    #[test]
    fn secret_that_others_can_write_is_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let folder = std::env::temp_dir().join(format!("grantor-secret-mode-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, link) = (folder.join("secret"), folder.join("link"));
        fs::write(&file, [7; LENGTH]).unwrap();
        // As Kubernetes mounts a secret.
        symlink("secret", &link).unwrap();
        for path in [&file, &link] {
            for mode in [0o600, 0o400, 0o444, 0o640, 0o644] {
                fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
                assert_eq!(load(Some(path), true).unwrap(), [7; LENGTH], "{mode:o}");
            }
            for mode in [0o666, 0o664, 0o646, 0o620, 0o602] {
                fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
                let expected = format!(
                    "other users can change the secret file {0} (mode 0{mode:o}): run `chmod go-w {0}`, or remove the file if \
                     one of them may have changed it",
                    path.display()
                );
                assert_eq!(load(Some(path), true).unwrap_err().to_string(), expected);
            }
        }
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(&file, [7; LENGTH + 1]).unwrap();
        assert!(load(Some(&link), true).unwrap_err().to_string().contains("must have 32 bytes"));
        fs::remove_file(&file).unwrap();
        assert!(load(Some(&link), true).is_err(), "the link leads nowhere");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}

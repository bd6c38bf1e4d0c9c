//! What is mounted where, as the kernel tells. Reading it asks no server: it answers while a share hangs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo` (`proc(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Names the mount as long as it lives.
    pub(super) id: u64,
    /// The directory of the file system that is seen here: `/`, unless a part of it was bound here.
    pub(super) root: PathBuf,
    /// Where.
    pub(super) point: PathBuf,
    /// `nfs`, `nfs4` and others.
    pub(super) fs_type: String,
    /// What: `host:/path`.
    pub(super) source: String,
    /// Options of mount and file system.
    pub(super) options: String,
}

/// Whatever is seen at the path: of several mounts the last one, which hides the others.
pub(super) fn mounted_at(text: &[u8], point: &Path) -> Option<Mount> {
    let lines = text.split(|byte| *byte == b'\n').rev();
    lines.filter_map(parse).find(|mount| mount.point == point)
}

/// `36 35 98:0 /root /point rw,noatime master:1 - nfs4 host:/path rw,vers=4.2`
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = text(fields.next()?).parse().ok()?;
    let (_parent, _device) = (fields.next()?, fields.next()?);
    let (root, point) = (path(fields.next()?), path(fields.next()?));
    let own_options = text(fields.next()?);
    // Optional fields end with a dash.
    fields.find(|field| *field == b"-")?;
    let (fs_type, source) = (text(fields.next()?), text(fields.next()?));
    let options = format!("{own_options} {}", text(fields.next().unwrap_or_default()));
    Some(Mount {
        id,
        root,
        point,
        fs_type,
        source,
        options,
    })
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescaped(field)).into_owned()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescaped(field)))
}

/// Spaces, tabs, line ends, backslashes and number signs stand there in octal: `\040`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| {
                let digits = std::str::from_utf8(digits).ok()?;
                u8::from_str_radix(digits, 8).ok()
            });
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
28 22 0:25 / /m rw,relatime shared:7 master:2 - tmpfs tmpfs rw,size=1k\n\
33 28 0:29 / /m/4 rw,relatime - nfs4 127.0.0.1:/ rw,vers=4.2,hard\n\
34 28 0:30 /below /m/3 rw,relatime shared:9 - nfs host:/a\\040b rw,vers=3\n\
35 22 0:31 / /with\\040space\\134 rw - nfs [fe80::1]:/x rw\n\
36 33 0:32 / /m/4 ro - tmpfs over rw\n\
not a line\n";

    fn at(point: &str) -> Option<Mount> {
        mounted_at(TEXT, Path::new(point))
    }

    #[test]
    fn the_last_mount_at_a_place_is_the_one_that_is_seen() {
        let seen = at("/m/4").unwrap();
        assert_eq!((seen.id, seen.fs_type.as_str()), (36, "tmpfs"));
        assert_eq!(at("/m").unwrap().source, "tmpfs");
        assert_eq!(at("/m/5"), None);
        assert_eq!(at(""), None);
    }

    #[test]
    fn a_part_that_is_bound_is_told_from_a_whole_share() {
        let seen = at("/m/3").unwrap();
        assert_eq!(seen.root, Path::new("/below"));
        assert_eq!(seen.source, "host:/a b");
        assert_eq!(seen.options, "rw,relatime rw,vers=3");
    }

    #[test]
    fn what_stands_in_octal_is_understood() {
        assert_eq!(at("/with space\\").unwrap().source, "[fe80::1]:/x");
        assert_eq!(unescaped(b"\\04"), b"\\04");
        assert_eq!(unescaped(b"\\999"), b"\\999");
    }

    #[test]
    fn the_machines_own_is_understood() {
        let text = std::fs::read("/proc/self/mountinfo").unwrap();
        assert_eq!(
            mounted_at(&text, Path::new("/proc")).unwrap().fs_type,
            "proc"
        );
    }
}

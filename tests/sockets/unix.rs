//! Unix sockets: whose the file is, who may use it, and when it goes.

use std::ffi::OsStr;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Signal, geteuid};
use xtask::left_out;

use crate::harness::guests::{rust, shipped};
use crate::harness::observe::until;
use crate::harness::{CONCURRENCIES, Client, DEADLINE, DatagramClient, Family, Folder, Launch, Wharf, ask_url};

/// Those with a file.
const FAMILIES: [Family; 2] = [Family::Unix, Family::Unixgram];

/// A folder with an upper-casing plugin of this family in it, and where that one's socket is to be.
fn upper(family: Family, settings: &str) -> (Folder, PathBuf) {
    let folder = Folder::new();
    set(&folder, family, settings);
    folder.plugin("upper", &shipped(if family == Family::Unix { "upper" } else { "upper-udp" }));
    let path = folder.parent().join("upper.sock");
    (folder, path)
}

/// Its manifest.
fn set(folder: &Folder, family: Family, settings: &str) {
    folder.manifest("upper", &format!("{}{settings}", family.listen(folder, "upper")));
}

#[track_caller]
fn answers_at(url: &str) {
    if url.starts_with("unixgram:") {
        DatagramClient::to(url).send("hello").hears("HELLO");
    } else {
        assert_eq!(ask_url(url, "hello"), "HELLO");
    }
}

/// Somebody else's socket. Dropped, it leaves its file behind as a dead process does.
enum Holder {
    Stream(UnixListener),
    Datagram(UnixDatagram),
}

impl Holder {
    fn bind(family: Family, path: &Path) -> Self {
        match family {
            Family::Unix => Self::Stream(UnixListener::bind(path).expect("bind")),
            _ => Self::Datagram(UnixDatagram::bind(path).expect("bind")),
        }
    }

    /// That it can still be reached at its path.
    #[track_caller]
    fn is_reached_at(&self, path: &Path) {
        match self {
            Self::Stream(listener) => {
                let _client = Client::dial(&format!("unix://{}", path.display()));
                listener.accept().expect("the client came here");
            }
            Self::Datagram(socket) => {
                DatagramClient::unnamed(&format!("unixgram://{}", path.display())).send("hello");
                assert_eq!(socket.recv(&mut [0; 16]).expect("it came here"), 5);
            }
        }
    }
}

#[test]
fn a_stale_file_is_replaced() {
    for family in FAMILIES {
        // A file of the other kind is as dead.
        for left_by in FAMILIES {
            let (folder, path) = upper(family, "");
            drop(Holder::bind(left_by, &path));
            let wharf = Wharf::serve(&folder);
            answers_at(&wharf.url("upper"));
            wharf.stop();
        }
    }
}

#[test]
fn a_killed_hosts_file_is_replaced_by_the_next_host() {
    for family in FAMILIES {
        let (folder, path) = upper(family, "");
        let killed = Wharf::serve(&folder);
        killed.event("listening", "upper");
        drop(killed);
        assert!(path.exists(), "nobody was left to remove it");
        let wharf = Wharf::serve(&folder);
        answers_at(&wharf.url("upper"));
        wharf.stop();
    }
}

#[test]
fn a_live_file_is_left_alone_until_its_process_is_gone() {
    for family in FAMILIES {
        for held_by in FAMILIES {
            let (folder, path) = upper(family, "");
            let holder = Holder::bind(held_by, &path);
            let wharf = Wharf::serve(&folder);
            let failed = wharf.event("failed", "upper");
            assert!(failed.reason.contains("a running process has it"), "{}", failed.reason);
            assert_eq!(failed.url, family.address(&folder, "upper"));
            if let Holder::Stream(listener) = &holder {
                // The host's own look at who is there.
                listener.set_nonblocking(true).expect("set");
                while listener.accept().is_ok() {}
                listener.set_nonblocking(false).expect("set");
            }
            holder.is_reached_at(&path);
            drop(holder);
            answers_at(&wharf.url("upper"));
            wharf.stop();
        }
    }
}

#[test]
fn a_second_host_waits_for_the_first() {
    for family in FAMILIES {
        let (folder, _) = upper(family, "");
        let first = Wharf::serve(&folder);
        let url = first.url("upper");
        let second = Wharf::serve(&folder);
        let failed = second.event("failed", "upper");
        assert!(failed.reason.contains("a running process has it"), "{}", failed.reason);
        answers_at(&url);
        first.stop();
        assert_eq!(second.url("upper"), url);
        answers_at(&url);
        second.stop();
    }
}

#[test]
fn an_address_of_another_plugin_is_failed_naming_it() {
    for listen in ["unix://@NAME", "unixgram://@NAME", "unix://NAME.sock", "unixgram://NAME.sock"] {
        let (folder, _) = upper(Family::Unix, "");
        let listen = listen.replace("NAME", folder.parent().to_str().expect("UTF-8"));
        let guest = shipped(if listen.starts_with("unix:") { "upper" } else { "upper-udp" });
        folder.manifest("upper", &format!("listen = '{listen}'")).plugin("upper", &guest);
        let wharf = Wharf::serve(&folder);
        let url = wharf.url("upper");
        folder.manifest("second", &format!("listen = '{listen}'")).plugin("second", &guest);
        let failed = wharf.event("failed", "second");
        assert!(failed.reason.contains("plugin upper has"), "{}", failed.reason);
        answers_at(&url);
        folder.remove("upper.wasm");
        wharf.event("unloaded", "upper");
        assert_eq!(wharf.url("second"), url);
        answers_at(&url);
        wharf.stop();
    }
}

#[test]
fn what_is_no_socket_is_left_alone() {
    type Plant = fn(&Path);
    let plant: [(&str, Plant); 3] = [
        ("a file", |path| fs::write(path, "buy milk").expect("write")),
        ("a folder", |path| fs::create_dir(path).expect("create")),
        ("a link", |path| symlink("nowhere", path).expect("link")),
    ];
    for family in FAMILIES {
        for (what, plant) in plant {
            let (folder, path) = upper(family, "");
            plant(&path);
            let before = fs::symlink_metadata(&path).expect("it is there").ino();
            let wharf = Wharf::serve(&folder);
            let failed = wharf.event("failed", "upper");
            assert!(failed.reason.contains("no socket"), "{what}: {}", failed.reason);
            assert_eq!(fs::symlink_metadata(&path).expect("it is there").ino(), before, "{what}");
            if what == "a folder" { fs::remove_dir(&path) } else { fs::remove_file(&path) }.expect("remove");
            answers_at(&wharf.url("upper"));
            wharf.stop();
        }
    }
}

#[test]
fn a_path_whose_folder_is_missing_is_failed_and_had_once_it_is_there() {
    for family in FAMILIES {
        let (folder, _) = upper(family, "");
        let missing = folder.parent().join("missing");
        let url = family.address(&folder, "missing/upper");
        folder.manifest("upper", &format!("listen = '{url}'"));
        let wharf = Wharf::serve(&folder);
        let failed = wharf.event("failed", "upper");
        assert_eq!(failed.url, url);
        fs::create_dir(&missing).expect("create");
        answers_at(&wharf.url("upper"));
        wharf.stop();
    }
}

#[test]
fn only_the_owner_may_connect_by_default() {
    for family in FAMILIES {
        for mask in ["umask 0", "umask 077"] {
            for (settings, expected) in [
                ("", 0o600),
                ("[unix]\nmode = '0600'", 0o600),
                ("[unix]\nmode = '0660'", 0o660),
                ("unix.mode = '666'", 0o666),
            ] {
                let (folder, path) = upper(family, settings);
                let wharf = Launch::after(mask, ["serve".as_ref(), folder.path()]).start();
                let url = wharf.url("upper");
                assert_eq!(mode(&path), expected, "{family:?} {mask} {settings:?}");
                answers_at(&url);
                wharf.stop();
            }
        }
    }
}

#[test]
fn a_changed_mode_is_taken_over_by_the_socket_that_is_there() {
    for family in FAMILIES {
        let (folder, path) = upper(family, "");
        let wharf = Wharf::serve(&folder);
        let url = wharf.url("upper");
        wharf.event("loaded", "upper");
        let before = fs::metadata(&path).expect("it is there").ino();
        set(&folder, family, "[unix]\nmode = '0620'");
        wharf.event("loaded", "upper");
        // The event tells of the plugin; its listeners follow before the next one.
        folder.plugin("other", &shipped("echo"));
        wharf.event("listening", "other");
        assert_eq!(mode(&path), 0o620);
        assert_eq!(fs::metadata(&path).expect("it is there").ino(), before);
        answers_at(&url);
        assert!(!wharf.stop().iter().any(|line| line.starts_with("failed")));
    }
}

#[test]
fn the_file_is_given_to_the_user_and_the_group_of_the_manifest() {
    if !geteuid().is_root() {
        left_out::note("owners of Unix sockets' files", "only root may give files away");
        return;
    }
    for family in FAMILIES {
        for (settings, user, group) in [
            ("[unix]\nuser = '1234'\ngroup = '4321'", 1234, 4321),
            ("[unix]\nuser = '1234'", 1234, 0),
            ("[unix]\ngroup = '4321'", 0, 4321),
            ("[unix]\nuser = 'root'\ngroup = 'root'", 0, 0),
        ] {
            let (folder, path) = upper(family, settings);
            let wharf = Wharf::serve(&folder);
            answers_at(&wharf.url("upper"));
            let file = fs::metadata(&path).expect("it is there");
            assert_eq!((file.uid(), file.gid()), (user, group), "{settings:?}");
            assert_eq!(mode(&path), 0o600, "as nobody said otherwise");
            wharf.stop();
        }
    }
}

#[test]
fn the_file_goes_with_its_server() {
    for family in FAMILIES {
        let (folder, path) = upper(family, "");
        let wharf = Wharf::serve(&folder);
        answers_at(&wharf.url("upper"));

        // Another address.
        let moved = folder.parent().join("moved.sock");
        folder.manifest("upper", &family.listen(&folder, "moved"));
        answers_at(&wharf.url("upper"));
        until("its file is gone", || !path.exists());
        assert!(moved.exists());

        // No plugin.
        folder.remove("upper.wasm");
        wharf.event("unloaded", "upper");
        assert!(!moved.exists());

        // The end.
        set(&folder, family, "");
        folder.plugin("upper", &shipped(if family == Family::Unix { "upper" } else { "upper-udp" }));
        answers_at(&wharf.url("upper"));
        assert!(fs::metadata(&path).expect("it is there").file_type().is_socket());
        wharf.stop();
        assert!(!path.exists());
    }
}

#[test]
fn a_successors_file_is_not_removed() {
    for family in FAMILIES {
        let (folder, path) = upper(family, "");
        let wharf = Wharf::serve(&folder);
        wharf.event("listening", "upper");
        fs::remove_file(&path).expect("remove");
        let successor = Holder::bind(family, &path);
        wharf.stop();
        successor.is_reached_at(&path);
    }
}

/// A folder that belongs to another user, who may put what he likes into it; none where only root
/// could make one.
fn folder_of_another_user(folder: &Folder) -> Option<PathBuf> {
    if !geteuid().is_root() {
        left_out::note("Unix sockets in another user's folder", "only root may give folders away");
        return None;
    }
    let theirs = folder.parent().join("theirs");
    fs::create_dir(&theirs).expect("create");
    chown(&theirs, Some(1234), Some(1234)).expect("root may");
    Some(theirs)
}

#[test]
fn what_stands_in_the_place_of_a_sockets_file_is_neither_given_away_nor_removed() {
    for family in FAMILIES {
        let (folder, _) = upper(family, "");
        let Some(theirs) = folder_of_another_user(&folder) else { return };
        let (socket, precious) = (theirs.join("upper.sock"), folder.parent().join("precious"));
        fs::write(&precious, "secret").expect("write");
        fs::set_permissions(&precious, fs::Permissions::from_mode(0o600)).expect("set");
        let listen = family.listen(&folder, "theirs/upper");
        let set = |mode: &str| {
            folder.manifest("upper", &format!("{listen}[unix]\nuser = '1234'\ngroup = '1234'\nmode = '{mode}'"));
        };
        set("0600");
        let wharf = Wharf::serve(&folder);
        answers_at(&wharf.url("upper"));
        assert_eq!(fs::metadata(&socket).expect("it is there").uid(), 1234);
        wharf.event("loaded", "upper");

        // It is moved away, and a link to a file of root's is put in its place.
        fs::rename(&socket, theirs.join("moved")).expect("rename");
        symlink(&precious, &socket).expect("link");
        set("0666");
        wharf.event("loaded", "upper");
        folder.plugin("other", &shipped("echo"));
        wharf.event("listening", "other");
        let file = fs::metadata(&precious).expect("it is there");
        assert_eq!((file.uid(), file.gid(), mode(&precious)), (0, 0, 0o600), "{family:?}");
        assert_eq!(mode(&theirs.join("moved")), 0o666, "what was bound is what is changed");
        wharf.stop();
        assert!(precious.exists() && fs::symlink_metadata(&socket).is_ok(), "and neither is removed");
    }
}

#[test]
fn a_folder_in_the_place_of_the_sockets_keeps_what_is_in_it() {
    for family in FAMILIES {
        let (folder, _) = upper(family, "");
        let [ours, others] = ["ours", "others"].map(|name| folder.parent().join(name));
        fs::create_dir(&ours).expect("create");
        fs::create_dir(&others).expect("create");
        folder.manifest("upper", &family.listen(&folder, "ours/upper"));
        let wharf = Wharf::serve(&folder);
        answers_at(&wharf.url("upper"));
        let holder = Holder::bind(family, &others.join("upper.sock"));
        renameat_with(CWD, &ours, CWD, &others, RenameFlags::EXCHANGE).expect("exchange");
        wharf.stop();
        holder.is_reached_at(&ours.join("upper.sock"));
        assert!(!others.join("upper.sock").exists(), "its own is removed where it is by now");
    }
}

#[test]
fn a_link_to_a_dead_sockets_file_is_no_such_file() {
    for family in FAMILIES {
        let (folder, path) = upper(family, "");
        let dead = folder.parent().join("dead.sock");
        drop(Holder::bind(family, &dead));
        symlink(&dead, &path).expect("link");
        let wharf = Wharf::serve(&folder);
        let failed = wharf.event("failed", "upper");
        assert!(failed.reason.contains("no socket"), "{}", failed.reason);
        assert!(dead.exists() && fs::symlink_metadata(&path).is_ok());
        wharf.stop();
    }
}

#[test]
fn a_socket_whose_file_was_removed_comes_back() {
    for family in FAMILIES {
        let (folder, _) = upper(family, "");
        folder.file("wharf.toml", "rescan = '1h'");
        // Out of sight of what watches the plugins' folder and the one around it.
        let place = folder.parent().join("place");
        fs::create_dir(&place).expect("create");
        folder.manifest("upper", &family.listen(&folder, "place/upper"));
        let wharf = Wharf::serve(&folder);
        let url = wharf.url("upper");
        answers_at(&url);

        fs::remove_file(place.join("upper.sock")).expect("remove");
        wharf.signal(Signal::HUP);
        wharf.logs(&["WARN", "the socket's file is gone", "plugin=upper", &url]);
        assert_eq!(wharf.event("closed", "upper").url, url);
        assert_eq!(wharf.url("upper"), url);
        answers_at(&url);

        // With its folder, which is made again later.
        fs::remove_dir_all(&place).expect("remove");
        wharf.signal(Signal::HUP);
        wharf.event("failed", "upper");
        fs::create_dir(&place).expect("create");
        assert_eq!(wharf.url("upper"), url);
        answers_at(&url);

        // At a rescan, too.
        folder.file("wharf.toml", "rescan = '100ms'");
        fs::remove_file(place.join("upper.sock")).expect("remove");
        assert_eq!(wharf.url("upper"), url);
        answers_at(&url);
        wharf.stop();
    }
}

#[test]
fn abstract_names_have_no_file() {
    for family in FAMILIES {
        let (folder, path) = upper(family, "");
        // As long as a name may be, and one that nobody else can have thought of.
        let name = format!("@{}", folder.parent().display());
        let scheme = if family == Family::Unix { "unix" } else { "unixgram" };
        let url = format!("{scheme}://{name:-<107}");
        folder.manifest("upper", &format!("listen = '{url}'"));
        let wharf = Wharf::serve(&folder);
        assert_eq!(wharf.url("upper"), url);
        answers_at(&url);
        assert!(!path.exists());

        // Another process can't have it, and has it once it is free.
        let second = Wharf::serve(&folder);
        let failed = second.event("failed", "upper");
        assert!(failed.reason.contains("in use") || failed.reason.contains("running process"), "{}", failed.reason);
        wharf.stop();
        assert_eq!(second.url("upper"), url);
        answers_at(&url);
        second.stop();
    }
}

#[test]
fn a_datagram_client_without_a_name_costs_its_own_session_only() {
    let folder = Folder::new();
    folder.manifest("misbehave", &Family::Unixgram.listen(&folder, "misbehave"));
    folder.plugin("misbehave", &rust("misbehave-udp"));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("misbehave");
    let named = DatagramClient::to(&url);
    DatagramClient::unnamed(&url).send("hello");
    wharf.logs(&["session failed", "plugin=misbehave", "client=unnamed", "phase=handle", "cause=\"error: "]);
    named.send("hello").hears("hello");
    // And one whose name is gone before its answer comes.
    let gone = DatagramClient::to(&url);
    fs::remove_file(gone.address()).expect("remove");
    gone.send("hello");
    wharf.logs(&["session failed", "plugin=misbehave", &gone.name(), "phase=handle", "cause=\"error: "]);
    named.send("hello").hears("hello");
    wharf.stop();
}

/// Sends a datagram to the server at the second path, from a socket that is bound to the first one
/// in its own folder.
const FROM_A_RELATIVE_PATH: &str = r"
import os, socket, sys
os.chdir(sys.argv[1])
client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
client.bind(sys.argv[2])
client.sendto(b'hello', sys.argv[3])
";

#[test]
fn a_datagram_client_with_a_relative_name_is_not_taken_for_another() {
    let folder = Folder::new();
    folder.manifest("misbehave", &Family::Unixgram.listen(&folder, "misbehave"));
    folder.plugin("misbehave", &rust("misbehave-udp"));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("misbehave");
    // One has the abstract name that this looks like; the other would be where the host's own
    // folder leads.
    let unique = folder.parent().file_name().expect("a name").to_str().expect("UTF-8").replace('.', "");
    let address = SocketAddr::from_abstract_name(&unique).expect("it fits");
    let victim = UnixDatagram::bind_addr(&address).expect("bind");
    for name in [format!("@{unique}"), "relative".to_owned()] {
        let mut python = Command::new("python3");
        let arguments = [folder.parent().as_os_str(), name.as_ref(), url.trim_start_matches("unixgram://").as_ref()];
        let status = python.args(["-c", FROM_A_RELATIVE_PATH]).args(arguments).status().expect("python3 runs");
        assert!(status.success());
        wharf.logs(&["session failed", "plugin=misbehave", &format!("client=./{name}"), "relative path"]);
    }
    victim.set_nonblocking(true).expect("set");
    assert!(victim.recv(&mut [0; 16]).is_err(), "nothing has come");
    wharf.stop();
}

#[test]
fn a_datagram_client_whose_name_is_no_text_is_answered_and_nobody_else() {
    for concurrency in CONCURRENCIES {
        let folder = Folder::new();
        let manifest = format!("{}concurrency = '{concurrency}'", Family::Unixgram.listen(&folder, "misbehave"));
        folder.manifest("misbehave", &manifest).plugin("misbehave", &rust("misbehave-udp"));
        let wharf = Wharf::serve(&folder);
        let server = wharf.url("misbehave").trim_start_matches("unixgram://").to_owned();
        let client = UnixDatagram::bind(folder.parent().join(OsStr::from_bytes(b"\xff"))).expect("bind");
        let decoy = UnixDatagram::bind(folder.parent().join("\u{fffd}")).expect("bind");
        client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        client.send_to(b"hello", &server).expect("send");
        assert_eq!(client.recv(&mut [0; 16]).expect("an answer"), 5);
        decoy.set_nonblocking(true).expect("set");
        assert!(decoy.recv(&mut [0; 16]).is_err(), "nothing has come");
        wharf.stop();
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

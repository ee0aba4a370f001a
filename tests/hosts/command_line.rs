//! Wrong command lines and files: one line that says where, what and what would be right; exit
//! status 2.

use std::fs;

use crate::harness::{Folder, Launch, Wharf, answer, answers, ask};

/// Starts what has to fail at once, and returns its only line.
#[track_caller]
fn complaint(launch: Launch) -> String {
    let mut wharf = launch.start();
    assert_eq!(wharf.ended(), 2, "exit status");
    assert_eq!(wharf.events(), [""; 0], "stdout is for events");
    let log = wharf.log();
    assert_eq!(log.len(), 1, "one line: {log:#?}");
    assert!(log[0].starts_with("wharf: "), "{}", log[0]);
    log[0].clone()
}

#[track_caller]
fn names_all(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "no {part:?} in: {line}");
    }
}

/// A temporary folder's name may have anything in it, so also what is looked for.
fn without_its_random_part(line: &str, folder: &Folder) -> String {
    line.replace(folder.parent().to_str().expect("UTF-8"), "")
}

#[test]
fn a_wrong_command_line_is_told_the_nearest_right_one() {
    let folder = Folder::new();
    let dir = folder.path().to_str().expect("UTF-8");
    for (args, parts) in [
        (vec!["sevre", dir], vec!["sevre", "serve"]),
        (vec!["serve", dir, "--cofnig", "x"], vec!["--cofnig", "--config"]),
        (vec!["serve", dir, "--log", "loud"], vec!["loud", "--log", "info"]),
        (vec!["run"], vec!["FILE"]),
        (vec!["run", "x.wasm"], vec!["x.wasm", "no such file"]),
        (vec!["run", "--listen", "tcp://127.0.0.1:0", "x.wasm"], vec!["x.wasm", "no such file"]),
        (vec!["run", "x.wasm", "--listen", "tpc://127.0.0.1:0"], vec!["tpc://127.0.0.1:0", "tcp://127.0.0.1:0"]),
        (vec!["run", "x.wasm", "--listen", "127.0.0.1:9999"], vec!["tcp://127.0.0.1:9999"]),
    ] {
        // Without a cache option of ours: the line is exactly what a user types.
        names_all(&complaint(Launch::new(args).own_cache()), &parts);
    }
}

#[test]
fn a_wrong_manifest_names_file_key_and_what_would_be_right() {
    for (toml, parts) in [
        ("lisen = 'tcp://127.0.0.1:0'", ["lisen", "listen"]),
        ("[timeouts]\nidel = '5s'", ["timeouts.idel", "idle"]),
        ("[limits]\nmemroy = 1", ["limits.memroy", "memory"]),
        ("[grants.evn]\nA = 'b'", ["grants.evn", "env"]),
        ("[[grants.dirs]]\nhots = '.'\nguest = '/'", ["hots", "host"]),
        ("concurrency = 'serail'", ["concurrency", "serial"]),
        ("max-connections = 'many'", ["max-connections", "many"]),
        ("max-connections = 0", ["max-connections", "nonzero"]),
        ("max-connections-per-source = 0", ["max-connections-per-source", "nonzero"]),
        ("max-rate-per-source = '10/s'", ["max-rate-per-source", "10/s"]),
        ("max-rate-per-sorce = 1", ["max-rate-per-sorce", "max-rate-per-source"]),
        ("instance-on-first-byte = 'yes'", ["instance-on-first-byte", "boolean"]),
        ("backlog = -1", ["backlog", "`-1`"]),
        ("[timeouts]\nidle = '5 parsecs'", ["timeouts.idle", "10s"]),
        ("[limits]\nmemory = '64MB'", ["limits.memory", "64MiB"]),
        ("listen = 'tcp://localhost:80'", ["listen", "tcp://127.0.0.1:80"]),
        ("listen = ['tcp://127.0.0.1']", ["listen", "tcp://127.0.0.1:9999"]),
        ("listen = 'tcp://127.0.0.1:65536'", ["listen", "65535"]),
        ("listen = 5", ["listen", "list"]),
        ("allow = '10.0.0.0/99'", ["allow", "10.0.0.0/8"]),
        ("[grants.env]\nTCPREMOTEIP = '6.6.6.6'", ["grants.env.TCPREMOTEIP", "the host says this of each client"]),
        ("[grants.env]\nSSL_CLIENT_S_DN = 'CN=root'", ["grants.env.SSL_CLIENT_S_DN", "choose another name"]),
        ("[grants.env]\n'PATH=/bin;X' = ''", ["grants.env.PATH=/bin;X", "one without `=`"]),
        ("[grants.env]\nGREETING = \"hello\\u0000TCPREMOTEIP=6.6.6.6\"", ["grants.env.GREETING", "NUL"]),
        ("[[grants.dirs]]\nhost = 'no-such-folder'\nguest = '/data'", ["grants.dirs", "no-such-folder"]),
        ("listen = [", ["wrong.toml", ":1"]),
    ] {
        let folder = Folder::new();
        folder.plugin("fine", &answers("A")).plugin("wrong", &answers("A")).manifest("wrong", toml);
        let line = complaint(Launch::new(["serve".as_ref(), folder.path()]));
        let line = without_its_random_part(&line, &folder);
        names_all(&line, &["wrong.toml"]);
        names_all(&line, &parts);
    }
}

#[test]
fn a_wrong_host_file_names_file_key_and_what_would_be_right() {
    for (toml, parts) in [
        ("rescn = '5s'", ["rescn", "rescan"]),
        ("rescan = 5", ["rescan", "`5`"]),
        ("max-connections = 0", ["max-connections", "nonzero"]),
        ("[defaults]\nmax-conections = 5", ["defaults.max-conections", "max-connections"]),
        ("[defaults]\nlisten = 'tcp://127.0.0.1:0'", ["defaults.listen", "own file"]),
    ] {
        let folder = Folder::new();
        folder.plugin("fine", &answers("A")).file("wharf.toml", toml);
        let line = complaint(Launch::new(["serve".as_ref(), folder.path()]));
        let line = without_its_random_part(&line, &folder);
        names_all(&line, &["wharf.toml"]);
        names_all(&line, &parts);

        let elsewhere = folder.parent().join("elsewhere.toml");
        fs::rename(folder.path().join("wharf.toml"), &elsewhere).expect("rename");
        let line = complaint(Launch::new(["serve".as_ref(), folder.path(), "--config".as_ref(), elsewhere.as_path()]));
        let line = without_its_random_part(&line, &folder);
        names_all(&line, &["elsewhere.toml"]);
        names_all(&line, &parts);
    }
}

#[test]
fn a_folder_that_can_not_be_served_is_named() {
    let folder = Folder::new();
    let path = folder.path().to_str().expect("UTF-8").to_owned();
    folder.file("file", "");
    for (dir, parts) in [
        (format!("{path}/file"), vec!["file", "folder"]),
        (format!("{path}/missing/plugins"), vec!["missing"]),
        // Its sibling `plugins` is there.
        (path.replace("/plugins", "/plugin"), vec!["plugin", "plugins"]),
    ] {
        let line = complaint(Launch::new(["serve", &dir]));
        names_all(&line, &[&dir]);
        names_all(&line, &parts);
    }
    let missing = format!("{path}/missing.toml");
    names_all(&complaint(Launch::new(["serve", &path, "--config", &missing])), &[&missing]);
}

#[test]
fn events_come_in_order_and_name_generation_and_real_port() {
    let folder = Folder::new();
    let (a, b) = (answers("A"), answers("B").assembled());
    folder.plugin("a", &a).plugin("b", &b).manifest("b", "listen = ['tcp://127.0.0.1:0', 'tcp://[::1]:0']");
    let wharf = Wharf::serve(&folder);
    let address = wharf.event("listening", "a").url;
    let (first, second) = (wharf.event("listening", "b").url, wharf.event("listening", "b").url);
    for (url, host) in [(&address, "127.0.0.1"), (&first, "127.0.0.1"), (&second, "[::1]")] {
        let port = url.strip_prefix(&format!("tcp://{host}:")).expect("the address asked for");
        assert_ne!(port.parse::<u16>().expect("a port"), 0, "{url}");
    }
    let events = wharf.stop();
    let about = |plugin: &str| -> Vec<String> {
        let words = |line: &&String| line.split(' ').any(|word| word == plugin);
        events.iter().filter(words).cloned().collect()
    };
    let (loaded_a, loaded_b) = (format!("loaded a {}", a.generation()), format!("loaded b {}", b.generation()));
    assert_eq!(about("a"), [loaded_a, format!("listening {address} a"), format!("closed {address} a")]);
    let of_b = about("b");
    assert_eq!(of_b[..3], [loaded_b, format!("listening {first} b"), format!("listening {second} b")]);
    let mut closed = of_b[3..].to_vec();
    closed.sort_by_key(|line| line.contains("[::1]"));
    assert_eq!(closed, [format!("closed {first} b"), format!("closed {second} b")]);

    let position = |wanted: &str| events.iter().position(|line| line.starts_with(wanted)).expect("it was printed");
    assert!(position("draining 0") < position("closed"), "{events:#?}");
    assert_eq!(events.last().map(String::as_str), Some("stopped"));
}

#[test]
fn run_serves_one_file_on_several_addresses_and_reloads_it() {
    let folder = Folder::new();
    let (a, b) = (answers("A"), answers("B"));
    folder.file("answers.wat", &a.bytes);
    let file = folder.path().join("answers.wat");
    // In whichever order and however often the option is written.
    for args in [
        ["--listen", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0", file.to_str().expect("UTF-8")],
        ["--listen=tcp://127.0.0.1:0", file.to_str().expect("UTF-8"), "--listen", "tcp://127.0.0.1:0"],
    ] {
        let wharf = Launch::new(["run"]).args(args).start();
        assert_ne!(wharf.address("answers"), wharf.address("answers"));
        wharf.stop();
    }
    let listen = ["--listen", "tcp://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0"];
    let wharf = Launch::new(["run".as_ref(), file.as_os_str()]).args(listen).start();
    assert_eq!(wharf.event("loaded", "answers").generation, a.generation());
    let addresses = [wharf.address("answers"), wharf.address("answers")];
    assert_ne!(addresses[0], addresses[1]);
    for address in addresses {
        assert_eq!(ask(address, "x"), answer("A"));
    }
    folder.file("answers.wat", &b.bytes);
    assert_eq!(wharf.event("loaded", "answers").generation, b.generation());
    for address in addresses {
        assert_eq!(ask(address, "x"), answer("B"));
    }
    wharf.stop();
}

#[test]
fn run_without_an_address_listens_where_the_manifest_says() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).plugin("other", &answers("B"));
    let wharf = Launch::new(["run".as_ref(), folder.path().join("answers.wat").as_os_str()]).start();
    assert_eq!(ask(wharf.address("answers"), "x"), answer("A"));
    assert!(!wharf.stop().iter().any(|line| line.contains("other")), "one plugin, no folder");
}

#[test]
fn run_fails_where_its_file_or_its_address_can_not_be_served() {
    let folder = Folder::new();
    folder.file("notes.wasm", "buy milk").file("answers.wat", &answers("A").bytes);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("tcp://{}", taken.local_addr().expect("its address"));
    for (file, url, event) in [("notes.wasm", "tcp://127.0.0.1:0", "refused"), ("answers.wat", &taken, "failed")] {
        let file = folder.path().join(file);
        let mut wharf = Launch::new(["run".as_ref(), file.as_os_str()]).args(["--listen", url]).start();
        assert_eq!(wharf.ended(), 1, "exit status");
        let events = wharf.events();
        assert!(events.iter().any(|line| line.starts_with(event) && line.contains(": ")), "{events:#?}");
        assert!(!events.iter().any(|line| line.starts_with("listening")), "{events:#?}");
    }
}

#[test]
fn a_schema_has_every_key_with_its_default() {
    let mut manifest = Launch::new(["schema"]).own_cache().start();
    assert_eq!(manifest.ended(), 0);
    let schema: serde_json::Value = serde_json::from_str(&manifest.events().join("\n")).expect("it is JSON");
    assert_eq!(schema["properties"]["timeouts"]["properties"]["drain"]["default"].as_str(), Some("30s"));
    assert_eq!(schema["additionalProperties"].as_bool(), Some(false));
    let mut host = Launch::new(["schema", "host"]).own_cache().start();
    assert_eq!(host.ended(), 0);
    let schema: serde_json::Value = serde_json::from_str(&host.events().join("\n")).expect("it is JSON");
    let defaults = schema["properties"]["defaults"]["properties"].as_object().expect("keys");
    assert!(defaults.contains_key("backlog") && !defaults.contains_key("listen"));
}

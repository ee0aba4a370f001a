//! `python -m wharf`: what becomes of a script's words about its server, and what can't be a plugin
//! is refused with a sentence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use xtask::left_out;

use crate::harness::guests::root;

/// What most scripts begin with.
const HANDLER: &str = "import os, signal, socket, socketserver, subprocess, threading, time\n\
                       class H(socketserver.StreamRequestHandler):\n    def handle(self): pass\n";

/// A folder with a script in it.
struct Desk(TempDir);

impl Desk {
    fn with(script: &str) -> Self {
        let desk = Self(tempfile::tempdir().expect("create a temporary folder"));
        desk.file("server.py", script);
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, content: &str) {
        fs::write(self.path().join(name), content).expect("write");
    }

    /// `PYTHON ARGUMENTS…` in the folder.
    fn run(&self, python: &Path, arguments: &[&str]) -> Run {
        let mut command = Command::new(python);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.env("PYTHONPATH", root().join("guest-sdk/python")).env("PYTHONDONTWRITEBYTECODE", "1");
        let Output { status, stdout, stderr } = command.output().expect("python runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Run { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    fn check(&self) -> Run {
        self.run(Path::new("python3"), &["-m", "wharf", "check", "server.py"])
    }
}

struct Run {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    /// The last line that it says.
    fn sentence(&self) -> &str {
        self.stderr.lines().last().unwrap_or("")
    }
}

/// The Python that has componentize-py, if it can be had here.
fn toolchain() -> Option<PathBuf> {
    let python = root().join("target/toolchains/python/venv/bin/python");
    if !python.is_file() {
        left_out::note_unbuilt("python", "builds of Python scripts", "cargo xtask examples");
        return None;
    }
    Some(python)
}

#[test]
fn a_server_class_its_address_and_its_attributes_become_a_manifest() {
    for (says, manifest) in [
        (
            "socketserver.TCPServer(('127.0.0.1', 9), H).serve_forever()",
            "listen = 'tcp://127.0.0.1:9'\nconcurrency = 'serial'\n",
        ),
        (
            "socketserver.UDPServer(('localhost', 0), H).serve_forever()",
            "listen = 'udp://127.0.0.1:0'\nconcurrency = 'serial'\n",
        ),
        (
            "socketserver.ThreadingUDPServer(('', 9), H).serve_forever()",
            "listen = 'udp://0.0.0.0:9'\nconcurrency = 'thread'\n",
        ),
        (
            "socketserver.ForkingTCPServer(('10.1.2.3', 9), H).serve_forever()",
            "listen = 'tcp://10.1.2.3:9'\nconcurrency = 'process'\n",
        ),
        (
            "socketserver.UnixStreamServer('/run/x', H).serve_forever()",
            "listen = 'unix:///run/x'\nconcurrency = 'serial'\n",
        ),
        (
            "socketserver.ThreadingUnixStreamServer('x', H).serve_forever()",
            "listen = 'unix://FOLDER/x'\nconcurrency = 'thread'\n",
        ),
        (
            "class S(socketserver.ForkingMixIn, socketserver.UnixDatagramServer): pass\nS('\\0x', H).serve_forever()",
            "listen = 'unixgram://@x'\nconcurrency = 'process'\n",
        ),
        (
            "class S(socketserver.TCPServer):\n    address_family = socket.AF_INET6\nS(('::1', 9), H).serve_forever()",
            "listen = 'tcp://[::1]:9'\nconcurrency = 'serial'\n",
        ),
        (
            // On Linux such a socket is both families'.
            "class S(socketserver.TCPServer):\n    address_family = socket.AF_INET6\nS(('', 9), H).serve_forever()",
            "listen = ['tcp://[::]:9', 'tcp://0.0.0.0:9']\nconcurrency = 'serial'\n",
        ),
        (
            "class S(socketserver.ThreadingMixIn, socketserver.TCPServer):\n    allow_reuse_address = False\n    \
             allow_reuse_port = True\n    request_queue_size = 5\n    daemon_threads = True\n    block_on_close = False\n\
             class K(H):\n    disable_nagle_algorithm = False\nS(('127.0.0.1', 9), K).serve_forever()",
            "listen = 'tcp://127.0.0.1:9'\nconcurrency = 'thread'\nbacklog = 5\nallow-reuse-address = false\n\
             allow-reuse-port = true\ndaemon-threads = true\nblock-on-close = false\ndisable-nagle-algorithm = false\n",
        ),
        (
            // By hand, on a server that the class has not bound.
            "s = socketserver.TCPServer(('127.0.0.1', 9), H, bind_and_activate=False)\ns.allow_reuse_port = True\n\
             s.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\ns.server_bind()\ns.socket.listen(3)\ns.serve_forever()",
            "listen = 'tcp://127.0.0.1:9'\nconcurrency = 'serial'\nbacklog = 3\nallow-reuse-port = true\n",
        ),
        (
            // In a thread, with the script's own waiting for its end.
            "s = socketserver.TCPServer(('127.0.0.1', 9), H)\nthreading.Thread(target=s.serve_forever).start()\n\
             try:\n    while True: time.sleep(60)\nexcept KeyboardInterrupt: s.shutdown()",
            "listen = 'tcp://127.0.0.1:9'\nconcurrency = 'serial'\n",
        ),
        (
            "from xmlrpc.server import SimpleXMLRPCServer as S\nwith S(('127.0.0.1', 9)) as s: s.serve_forever()",
            "listen = 'tcp://127.0.0.1:9'\nconcurrency = 'serial'\n",
        ),
        (
            "from wsgiref.simple_server import *\nmake_server('127.0.0.1', 9, demo_app).serve_forever()",
            "listen = 'tcp://127.0.0.1:9'\nconcurrency = 'serial'\n",
        ),
    ] {
        let desk = Desk::with(&format!("{HANDLER}{says}\n"));
        let run = desk.check();
        let folder = desk.path().canonicalize().expect("it is there");
        let expected = manifest.replace('\'', "\"").replace("FOLDER", folder.to_str().expect("UTF-8"));
        assert_eq!((run.stdout, run.status), (expected, Some(0)), "{says}\n{}", run.stderr);
    }
}

#[test]
fn a_script_gets_its_own_arguments_and_its_folder() {
    let desk = Desk::with(&format!(
        "{HANDLER}import sys, beside\nsocketserver.TCPServer(('127.0.0.1', int(sys.argv[2])), H).serve_forever()\n"
    ));
    desk.file("beside.py", "");
    let run = desk.run(Path::new("python3"), &["-m", "wharf", "check", "server.py", "--", "--port", "77"]);
    assert_eq!(run.stdout.lines().next(), Some("listen = \"tcp://127.0.0.1:77\""), "{}", run.stderr);
}

#[test]
fn what_the_plugin_does_otherwise_is_noted() {
    for (says, note) in [
        (
            "while True: s.handle_request()",
            "handle_request() is taken for serve_forever(): `wharf run FILE --requests 1`",
        ),
        ("signal.signal(signal.SIGTERM, print)\ns.serve_forever()", "SIGTERM is wharf's to heed"),
        ("os.chdir('/')\ns.serve_forever()", "a plugin's current folder is /, so grant the folder with guest = \"/\""),
    ] {
        let desk = Desk::with(&format!("{HANDLER}s = socketserver.TCPServer(('127.0.0.1', 9), H)\n{says}\n"));
        let run = desk.check();
        assert_eq!(run.status, Some(0), "{says}\n{}", run.stderr);
        assert!(run.sentence().starts_with("wharf: note: ") && run.sentence().contains(note), "{says}\n{}", run.stderr);
    }
}

#[test]
fn a_running_server_keeps_its_socket_though_the_script_removes_it_at_set_up() {
    let desk = Desk::with(&format!(
        "{HANDLER}os.unlink('x')\nos.remove('y')\nsocketserver.UnixStreamServer('x', H).serve_forever()\n"
    ));
    let _running = std::os::unix::net::UnixListener::bind(desk.path().join("x")).expect("bind");
    desk.file("y", "no socket");
    assert_eq!(desk.check().status, Some(0));
    assert!(desk.path().join("x").exists() && !desk.path().join("y").exists());
}

#[test]
fn what_cannot_be_a_plugin_is_refused_with_one_sentence() {
    for (says, sentence) in [
        ("", "it ended without serve_forever(): give a server class of socketserver its address and a handler class"),
        (
            "socket.create_connection(('127.0.0.1', 9))",
            "a plugin can't open connections of its own, as wharf gives guests no",
        ),
        (
            "import urllib.request\nurllib.request.urlopen('http://example.org')",
            "'example.org': a plugin can't look up host names",
        ),
        (
            "socketserver.TCPServer(('example.org', 9), H)",
            "'example.org': a plugin can't look up host names: write an IP address",
        ),
        ("subprocess.run(['true'])", "a plugin can't start processes: do the work in Python within the handler"),
        ("os.system('true')", "a plugin can't start processes: "),
        ("os.fork()", "a plugin can't start processes: "),
        (
            "import multiprocessing as m\nm.get_context('fork').Process(target=print).start()",
            "a plugin can't start processes: ",
        ),
        (
            "threading.Thread(target=time.sleep, args=(60,)).start()",
            "a plugin can't start threads: do the work within the handler",
        ),
        ("threading.Timer(60, print).start()", "a plugin can't start threads: "),
        (
            "from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor().submit(print)",
            "a plugin can't start threads: ",
        ),
        ("import ssl", "a plugin has no ssl module: let a proxy in front of wharf end TLS"),
        ("import ctypes", "a plugin can't load native libraries, and so has no ctypes: use a package in pure Python"),
        ("import fcntl", "a plugin's Python has no module fcntl, which needs what WASI lacks: do without it"),
        ("import native", "native is a C extension, which can't be loaded in a plugin: use a package in pure Python"),
        ("signal.signal(signal.SIGALRM, print)", "a plugin gets no signals: bound a wait with settimeout()"),
        ("signal.alarm(1)", "a plugin gets no signals: "),
        (
            "import select\nselect.select([], [], [], 0)",
            "a plugin can't wait for several descriptors: read from self.request",
        ),
        (
            "s = socket.socket()\ns.bind(('', 9))\ns.listen()\ns.accept()",
            "a plugin has no sockets to accept on but its server's: ",
        ),
        (
            "for port in (1, 2):\n    s = socketserver.TCPServer(('127.0.0.1', port), H)\n    \
             threading.Thread(target=s.serve_forever).start()",
            "it serves from two servers, and a plugin is one: make a script of each",
        ),
        (
            "socketserver.TCPServer(('127.0.0.1', 9), H, bind_and_activate=False).serve_forever()",
            "its server is not bound to an address: leave bind_and_activate as it is, or call server_bind()",
        ),
        (
            "with open('server.py') as f, socketserver.TCPServer(('127.0.0.1', 9), H) as s: s.serve_forever()",
            "it keeps server.py open when it begins to serve, and what is open is not in the plugin: read it before, or open",
        ),
        (
            "import logging\nlogging.basicConfig(filename='x.log')\nsocketserver.TCPServer(('127.0.0.1', 9), H).serve_forever()",
            "it keeps ",
        ),
        ("import sys\nsys.exit('no configuration')", "it ended by sys.exit('no configuration') before serve_forever()"),
        ("os._exit(7)", "it ended Python before serve_forever(), 7"),
    ] {
        let desk = Desk::with(&format!("{HANDLER}{says}\n"));
        // For CPython the name tells what it is.
        desk.file("native.abi3.so", "");
        let run = desk.check();
        assert_eq!((run.stdout.as_str(), run.status), ("", Some(1)), "{says}\n{}", run.stderr);
        let expected = format!("wharf: server.py: {sentence}");
        assert!(run.sentence().starts_with(&expected), "{says}\n{}", run.stderr);
    }
}

#[test]
fn a_script_that_fails_by_itself_is_shown_with_its_own_traceback() {
    let desk = Desk::with("def first():\n    return 1 / 0\nfirst()\n");
    let run = desk.check();
    assert_eq!(run.status, Some(1));
    assert!(
        run.stderr.starts_with("Traceback (most recent call last):\n  File \"server.py\", line 3, in <module>\n"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("    return 1 / 0\n") && run.stderr.contains("ZeroDivisionError: "), "{}", run.stderr);
    assert_eq!(run.sentence(), "wharf: server.py: it raised ZeroDivisionError before serve_forever(), as shown above");

    desk.file("server.py", "def f(:\n");
    let run = desk.check();
    assert!(run.stderr.contains("    def f(:\n"), "{}", run.stderr);
    assert_eq!(run.sentence(), "wharf: server.py: it has a syntax error: invalid syntax (server.py, line 1)");
}

#[test]
fn a_script_that_never_serves_is_ended_at_the_deadline_and_told_where_it_was() {
    for script in ["while True:\n    pass\n", "import time\ntime.sleep(600)\n", "input()\nwhile True: pass\n"] {
        let desk = Desk::with(script);
        let run = desk.run(Path::new("python3"), &["-m", "wharf", "check", "server.py", "--deadline", "0.5"]);
        assert_eq!(run.status, Some(1), "{}", run.stderr);
        if script.starts_with("input") {
            assert!(run.sentence().contains("it raised EOFError"), "{}", run.stderr);
            continue;
        }
        assert!(run.stderr.contains("File \"server.py\", line "), "{}", run.stderr);
        let sentence = "wharf: server.py: it has not come to serve_forever() within 0.5 s: ";
        assert!(run.sentence().starts_with(sentence), "{}", run.stderr);
    }
}

#[test]
fn a_wrong_command_line_says_what_would_be_right() {
    let desk = Desk::with("");
    let python = Path::new("python3");
    for (arguments, status, sentence) in [
        (&["-m", "wharf", "build", "nowhere.py"][..], 1, "wharf: nowhere.py: there is no such file"),
        (&["-m", "wharf", "build", "."][..], 1, "wharf: .: it is no file"),
        (&["-m", "wharf", "build", "server.py", "-o", "x.wat"][..], 2, "a plugin's name ends in .wasm: -o x.wasm"),
        (
            &["-m", "wharf", "build", "server.py", "-o", "no/x.wasm"][..],
            1,
            "wharf: server.py: no is no folder to write the plugin into: make it",
        ),
        // Without the packages that Python would find.
        (&["-S", "-m", "wharf", "build", "server.py"][..], 1, "-m pip install 'componentize-py>=0.25.1,<0.26'"),
    ] {
        let run = desk.run(python, arguments);
        assert_eq!(run.status, Some(status), "{}", run.stderr);
        assert!(run.sentence().ends_with(sentence), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn what_fails_within_the_plugin_alone_leaves_the_old_plugin_in_place() {
    let Some(python) = toolchain() else { return };
    let desk = Desk::with(&format!(
        "{HANDLER}name = open('/etc/passwd').read()\nsocketserver.TCPServer(('127.0.0.1', 9), H).serve_forever()\n"
    ));
    desk.file("server.wasm", "old");
    let run = desk.run(&python, &["-m", "wharf", "build", "server.py", "-o", "server.wasm"]);
    assert_eq!(run.status, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("File \"server.py\", line 4, in <module>"), "{}", run.stderr);
    assert!(run.sentence().contains("No such file or directory: '/etc/passwd'"), "{}", run.stderr);
    assert!(
        run.sentence().ends_with("do what needs those within the handler, in a folder that [[grants.dirs]] grants")
    );
    assert_eq!(fs::read(desk.path().join("server.wasm")).expect("it is there"), b"old");
    let names = fs::read_dir(desk.path()).expect("it is there").count();
    assert_eq!(names, 2, "nothing else is left behind");
}

#[test]
fn an_operators_file_that_is_there_is_left_as_it_is_and_the_line_to_add_is_told() {
    let Some(python) = toolchain() else { return };
    let desk = Desk::with(&format!("{HANDLER}socketserver.UnixStreamServer('/run/wharf-test', H).serve_forever()\n"));
    desk.file("server.toml", "max-connections = 3\n");
    let run = desk.run(&python, &["-m", "wharf", "build", "server.py", "-o", "server.wasm"]);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let told = "wharf: server.toml is there and is left as it is: add this line at its top, or the plugin is refused\n\
                wharf: listen = \"unix:///run/wharf-test\"\n";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    assert_eq!(fs::read_to_string(desk.path().join("server.toml")).expect("it is there"), "max-connections = 3\n");
}

#[test]
fn the_package_has_the_contract_itself() {
    let contract = fs::read(root().join("wit/handler.wit")).expect("it is there");
    let package = root().join("guest-sdk/python/wharf/wit/handler.wit");
    assert!(fs::read(package).expect("it is there") == contract, "the package's source");
    // As pip has installed it, if it has.
    let installed = root().join("target/toolchains/python/sdk/wharf");
    if installed.is_dir() {
        assert!(fs::read(installed.join("wit/handler.wit")).expect("it is there") == contract, "what pip installs");
    }
}

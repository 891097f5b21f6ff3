//! A PostgreSQL server for the tests of this process: a new data directory with a socket, removed when the process
//! ends.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

#[path = "skip.rs"]
pub mod skip;

/// A running server. A shell process watches it, and stops it and removes its directory, no matter how this process
/// ends.
pub struct Postgres {
    directory: PathBuf,
    keeper: Mutex<Keeper>,
    databases: AtomicU32,
}

struct Keeper {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _shell: Child,
}

/// The script of the shell. It runs until its standard input is closed, and answers each command with one line.
const KEEPER: &str = r#"
launch() {
    "$1/postgres" -D "$2/data" -c listen_addresses= -c unix_socket_directories="$2" -c max_connections=300 \
        -c fsync=off -c full_page_writes=off >>"$2/log" 2>&1 &
    server=$!
}
start() {
    launch "$@"
    tries=0
    until "$1/psql" -h "$2" -U grantor -d postgres -Atc 'SELECT 1' >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ]; then echo failed; return; fi
        # After a crash it may find that its predecessor is not quite gone, and give up.
        kill -0 $server 2>/dev/null || launch "$@"
        sleep 0.1
    done
    echo ready
}
end() {
    kill -INT $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$2"
}
trap 'end "$@"' EXIT
trap '' INT
"$1/initdb" -D "$2/data" -U grantor -A trust -E UTF8 --locale=C --no-sync >"$2/log" 2>&1 || { echo failed; exit 1; }
start "$@"
while read -r order; do
    case "$order" in
    kill) kill -9 $server $(cat /proc/$server/task/$server/children); wait $server 2>/dev/null; echo killed ;;
    start) start "$@" ;;
    esac
done
"#;

impl Postgres {
    /// The server of this process, started when it is first asked for; `None`, with a printed reason, if this machine
    /// has no PostgreSQL.
    pub fn get() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
        SERVER.get_or_init(Self::start).as_ref()
    }

    /// A server that no other test uses.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            skip::skip("there is no PostgreSQL on this machine");
            return None;
        };
        let directory = std::env::temp_dir().join(format!("grantor-pg-{}-{}", std::process::id(), next()));
        fs::create_dir_all(&directory).unwrap();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(&programs).arg(&directory).current_dir(&directory);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        // PostgreSQL refuses to run as root.
        if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            let (user, group) = unprivileged();
            chown(&directory, Some(user), Some(group)).unwrap();
            keeper.uid(user).gid(group);
        }
        let mut shell = keeper.spawn().unwrap();
        let (orders, answers) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        let keeper = Mutex::new(Keeper { orders, answers, _shell: shell });
        let server = Self { directory, keeper, databases: AtomicU32::new(0) };
        server.expect("ready");
        Some(server)
    }

    fn expect(&self, answer: &str) {
        let mut line = String::new();
        self.keeper.lock().unwrap().answers.read_line(&mut line).unwrap();
        let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        assert_eq!(line.trim(), answer, "PostgreSQL says:\n{}", log());
    }

    fn order(&self, order: &str, answer: &str) {
        writeln!(self.keeper.lock().unwrap().orders, "{order}").unwrap();
        self.expect(answer);
    }

    /// Kills the server and all its connection processes, as a crash would.
    pub fn kill(&self) {
        self.order("kill", "killed");
    }

    /// Starts it again after [`kill`](Self::kill); returns when it has recovered.
    pub fn restart(&self) {
        self.order("start", "ready");
    }

    /// The URL of a new, empty database.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        let pool = sqlx::PgPool::connect(&self.url("postgres")).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&pool).await.unwrap();
        pool.close().await;
        self.url(&name)
    }

    /// The address of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://grantor@localhost/{database}?host={}", self.directory.display())
    }
}

/// A number that this process has not used before.
fn next() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::SeqCst)
}

/// The folder of `postgres`, `initdb` and `psql`: the newest version under Debian's path, or the search path.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok().into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort_by_key(|path| version_of(path));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    versions
        .into_iter()
        .rev()
        .chain(on_path)
        .find(|bin| ["postgres", "initdb", "psql"].iter().all(|name| bin.join(name).exists()))
}

fn version_of(bin: &Path) -> u32 {
    let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse().ok());
    version.unwrap_or_default()
}

/// The user and group `postgres`, or `nobody`.
fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let mut fields = users
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).unwrap_or((65534, 65534))
}

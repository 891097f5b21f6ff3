//! URLs and names to which no connection may be made.

use grantor::http_client::FetchPolicy;

use crate::local::{Names, Reply, Server, client, get, outcome};

/// A URL, with `PORT` for the port of a server on this machine, and the outcome.
const URLS: &[(&str, &str)] = &[
    // IP literals in all spellings.
    ("https://127.0.0.1:PORT/", "url: Address"),
    ("https://127.1:PORT/", "url: Address"),
    ("https://127.0.1:PORT/", "url: Address"),
    ("https://127.0.0.2:PORT/", "url: Address"),
    ("https://2130706433:PORT/", "url: Address"),
    ("https://0x7f000001:PORT/", "url: Address"),
    ("https://0x7f.0.0.1:PORT/", "url: Address"),
    ("https://0x7F.1:PORT/", "url: Address"),
    ("https://017700000001:PORT/", "url: Address"),
    ("https://0177.0.0.1:PORT/", "url: Address"),
    ("https://0:PORT/", "url: Address"),
    ("https://0.0.0.0:PORT/", "url: Address"),
    ("https://127.0.0.1.:PORT/", "url: Address"),
    ("https://%31%32%37.0.0.1:PORT/", "url: Address"),
    ("https://127%2e0%2e0%2e1:PORT/", "url: Address"),
    ("https://169.254.169.254/", "url: Address"),
    ("https://8.8.8.8/", "url: Address"),
    ("https://[::1]:PORT/", "url: Address"),
    ("https://[::]:PORT/", "url: Address"),
    ("https://[0:0:0:0:0:0:0:1]:PORT/", "url: Address"),
    ("https://[::ffff:127.0.0.1]:PORT/", "url: Address"),
    ("https://[::ffff:7f00:1]:PORT/", "url: Address"),
    ("https://[::127.0.0.1]:PORT/", "url: Address"),
    ("https://[64:ff9b::7f00:1]:PORT/", "url: Address"),
    ("https://[2606:4700:4700::1111]/", "url: Address"),
    ("https://[fe80::1%25lo]:PORT/", "url: Malformed"),
    ("https://[::1%lo]:PORT/", "url: Malformed"),
    ("https://\u{2460}27.0.0.1:PORT/", "url: Malformed"),
    ("https://127\u{3002}0\u{3002}0\u{3002}1:PORT/", "url: Malformed"),
    // Names that lead to this machine or its network.
    ("https://localhost:PORT/", "url: Name"),
    ("https://LocalHost:PORT/", "url: Name"),
    ("https://localhost.:PORT/", "url: Name"),
    ("https://a.localhost:PORT/", "url: Name"),
    ("https://printer:PORT/", "url: Name"),
    ("https://printer.local:PORT/", "url: Name"),
    ("https://metadata.google.internal/", "url: Name"),
    ("https://abcdefghijklmnop.onion/", "url: Name"),
    ("https://private.example.:PORT/", "url: Name"),
    // Other schemes, ports, user information and fragments.
    ("http://public.example:PORT/", "url: Scheme"),
    ("http://127.0.0.1:PORT/", "url: Scheme"),
    ("ftp://127.0.0.1:PORT/", "url: Scheme"),
    ("gopher://127.0.0.1:PORT/_GET", "url: Scheme"),
    ("file:///etc/passwd", "url: Scheme"),
    ("data:application/json,%7B%7D", "url: Scheme"),
    ("unix:/run/docker.sock", "url: Scheme"),
    ("ws://127.0.0.1:PORT/", "url: Scheme"),
    ("HTTP://127.0.0.1:PORT/", "url: Scheme"),
    ("https://public.example:22/", "url: Port"),
    ("https://public.example:80/", "url: Port"),
    ("https://public.example:0/", "url: Port"),
    ("https://public.example:65536/", "url: Malformed"),
    ("https://user@127.0.0.1:PORT/", "url: UserInfo"),
    ("https://public.example@127.0.0.1:PORT/", "url: UserInfo"),
    ("https://public.example:443@127.0.0.1:PORT/", "url: UserInfo"),
    ("https://:@127.0.0.1:PORT/", "url: UserInfo"),
    ("https://public.example/#@127.0.0.1:PORT/", "url: Fragment"),
    ("https://127.0.0.1:PORT/#", "url: Fragment"),
    // Texts that parsers read differently.
    ("https:127.0.0.1:PORT/", "url: Malformed"),
    ("https:///127.0.0.1:PORT/", "url: Malformed"),
    ("https:\\\\127.0.0.1:PORT/", "url: Malformed"),
    ("https://127.0.0.1:PORT\\@public.example/", "url: Malformed"),
    ("//127.0.0.1:PORT/", "url: Malformed"),
    ("127.0.0.1:PORT/", "url: Malformed"),
    (" https://127.0.0.1:PORT/", "url: Malformed"),
    ("https://127.0.0.1:PORT/\r\nHost: a.example", "url: Malformed"),
    ("https://127.0.0.1:PORT /", "url: Malformed"),
    ("https://public.example:443:PORT/", "url: Malformed"),
    ("", "url: Malformed"),
];

// covers: KM-17 (RFC 8725bis §3.10), B33
#[tokio::test]
async fn hostile_url_is_refused_without_connection() {
    let trap = Server::start(Reply::Silence).await;
    let names = ["public.example", "private.example", "localhost", "printer", "printer.local", "a.localhost"];
    let names = names.iter().fold(Names::default(), |names, name| names.with(name, &["127.0.0.1"]));
    let client = client(&names);
    let mut policy = FetchPolicy::default();
    // Otherwise the check of the port would hide the other checks.
    policy.allowed_ports.insert(trap.port);
    for (url, expected) in URLS {
        let url = url.replace("PORT", &trap.port.to_string());
        assert_eq!(outcome(&get(&client, &url, &policy).await), *expected, "{url}");
    }
    let long = format!("https://127.0.0.1:{}/{}", trap.port, "a".repeat(2_048));
    assert_eq!(outcome(&get(&client, &long, &policy).await), "url: TooLong");
    assert_eq!((trap.connections().await, names.asked()), (0, Vec::<String>::new()));
}

/// The addresses of a name, and the one that is reported.
const ADDRESSES: &[(&str, &str)] = &[
    ("127.0.0.1", "127.0.0.1"),
    ("127.8.9.10", "127.8.9.10"),
    ("0.0.0.0", "0.0.0.0"),
    ("10.0.0.1", "10.0.0.1"),
    ("172.16.0.1", "172.16.0.1"),
    ("192.168.1.1", "192.168.1.1"),
    ("100.64.0.1", "100.64.0.1"),
    ("169.254.169.254", "169.254.169.254"),
    ("192.0.0.192", "192.0.0.192"),
    ("198.18.0.1", "198.18.0.1"),
    ("224.0.0.1", "224.0.0.1"),
    ("255.255.255.255", "255.255.255.255"),
    ("::1", "::1"),
    ("::", "::"),
    ("::127.0.0.1", "::7f00:1"),
    ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
    ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
    ("64:ff9b::127.0.0.1", "64:ff9b::7f00:1"),
    ("64:ff9b::a9fe:a9fe", "64:ff9b::a9fe:a9fe"),
    ("64:ff9b:1::7f00:1", "64:ff9b:1::7f00:1"),
    ("2002:7f00:1::", "2002:7f00:1::"),
    ("2001:0:7f00:1::80ff:fffe", "2001:0:7f00:1::80ff:fffe"),
    ("fe80::1", "fe80::1"),
    ("fc00::1", "fc00::1"),
    ("fd00:ec2::254", "fd00:ec2::254"),
    ("ff02::1", "ff02::1"),
    ("2001:db8::1", "2001:db8::1"),
    // One address is public, and another one is not.
    ("1.1.1.1 127.0.0.1", "127.0.0.1"),
    ("127.0.0.1 1.1.1.1", "127.0.0.1"),
    ("2606:4700:4700::1111 1.1.1.1 ::1", "::1"),
    ("1.1.1.1 2002:a00:1::", "2002:a00:1::"),
];

// covers: KM-17 (RFC 8725bis §3.10), B33
#[tokio::test]
async fn name_with_an_address_that_is_not_public_gets_no_connection() {
    let trap = Server::start(Reply::Silence).await;
    let mut policy = FetchPolicy::default();
    policy.allowed_ports.insert(trap.port);
    let url = format!("https://attacker.example:{}/", trap.port);
    for (addresses, reported) in ADDRESSES {
        let names = Names::default().with("attacker.example", &[addresses]);
        let client = client(&names);
        assert_eq!(outcome(&get(&client, &url, &policy).await), format!("address: {reported}"), "{addresses}");
        assert_eq!(names.asked(), ["attacker.example"], "{addresses}");
        // The switch for development does not change the addresses of other names.
        policy.allow_loopback_for_development = true;
        assert_eq!(outcome(&get(&client, &url, &policy).await), format!("address: {reported}"), "{addresses}");
        policy.allow_loopback_for_development = false;
    }
    assert_eq!(trap.connections().await, 0);
}

// An attacker answers the first look-up with a public address and later ones with an address of this machine. There is
// only one look-up, and the connection goes to its addresses. No host has the address of this test, because its network
// is not assigned.
#[tokio::test]
async fn changing_addresses_are_looked_up_once() {
    let trap = Server::start(Reply::Silence).await;
    let mut policy = FetchPolicy::default();
    policy.allowed_ports.insert(trap.port);
    policy.timeout = time::Duration::milliseconds(300);
    let names = Names::default().with("attacker.example", &["2e00::1", "127.0.0.1"]);
    let (client, url) = (client(&names), format!("https://attacker.example:{}/", trap.port));
    let first = outcome(&get(&client, &url, &policy).await);
    assert!(["connection", "Timeout"].contains(&first.as_str()), "{first}");
    assert_eq!(names.asked().len(), 1);
    assert_eq!(outcome(&get(&client, &url, &policy).await), "address: 127.0.0.1");
    assert_eq!((names.asked().len(), trap.connections().await), (2, 0));
}

#[tokio::test]
async fn name_that_does_not_exist_or_has_no_address_is_a_failure() {
    let names = Names::default().with("empty.example", &[""]);
    let client = client(&names);
    for url in ["https://empty.example/", "https://unknown.example/"] {
        assert_eq!(outcome(&get(&client, url, &FetchPolicy::default()).await), "name", "{url}");
    }
    assert_eq!(names.asked(), ["empty.example", "unknown.example"]);
}

#[tokio::test]
async fn localhost_is_allowed_only_with_loopback_addresses() {
    let reply = || Reply::KeepAlive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec());
    let server = Server::start(reply()).await;
    let url = format!("http://localhost:{}/", server.port);
    let addresses = ["127.0.0.1", "10.0.0.1", "1.1.1.1", "127.0.0.1 192.168.0.1", "::ffff:10.0.0.1", "127.0.0.1"];
    let names = Names::default().with("localhost", &addresses);
    let client = client(&names);
    // Each request looks up the name again.
    for expected in [
        "200 with 2 bytes",
        "address: 10.0.0.1",
        "address: 1.1.1.1",
        "address: 192.168.0.1",
        "address: ::ffff:10.0.0.1",
        "200 with 2 bytes",
    ] {
        assert_eq!(outcome(&get(&client, &url, &crate::local::on_loopback()).await), expected);
    }
    assert_eq!((names.asked().len(), server.connections().await), (6, 2));
}

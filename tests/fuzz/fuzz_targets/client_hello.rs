//! A ClientHello parser gives one answer for the same bytes, however they are cut, and never believes another host than rustls does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rustls::server::Acceptor;
use tollgate_tls::hello::{Parser, Progress};

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let whole = Parser::new().push(bytes);

    let mut parser = Parser::new();
    let (head, tail) = bytes.split_at(usize::from(cut).min(bytes.len()));
    parser.push(head);
    assert_eq!(parser.push(tail), whole, "cut at {cut}");

    let mut parser = Parser::new();
    let mut last = Progress::More;
    for byte in bytes {
        last = parser.push(std::slice::from_ref(byte));
    }
    assert_eq!(last, whole, "byte by byte");

    if let Progress::Hello(hello) = &whole {
        if let Some(name) = &hello.server_name {
            assert!(name.len() <= 253 && !name.ends_with('.') && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
        }
        if let Some(theirs) = accepted_by_rustls(bytes) {
            // rustls keeps the case and one trailing dot, and takes a few names that we do not.
            let theirs = theirs.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
            assert!(hello.server_name.is_none() || hello.server_name == theirs, "{:?}, {theirs:?}", hello.server_name);
        }
    }
});

/// The server name that rustls reads; outer `None` where it refuses the hello.
fn accepted_by_rustls(mut bytes: &[u8]) -> Option<Option<String>> {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(accepted.client_hello().server_name().map(str::to_owned));
        }
    }
    None
}

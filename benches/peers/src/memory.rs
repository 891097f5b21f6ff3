//! The memory that a live token takes in the memory storage.

use std::sync::Arc;

use grantor::record::{GrantDetails, GrantId, TokenDetails, TokenKind};
use grantor::secret::TokenHash;
use grantor::storage::Opened;
use grantor::{
    ClientId, Entropy, Grant, GrantType, MemoryStorage, Scope, Storage, StoredToken, Subject, SystemEntropy,
};
use sha2::{Digest, Sha256};

use crate::allocations::count;
use crate::subject::{SCOPE, ready};

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemEntropy.fill(&mut bytes).expect("entropy");
    bytes
}

/// Opens a grant like the library, with separate copies of the values that differ between grants.
fn open(storage: &MemoryStorage, client: &ClientId, number: usize, tokens: usize) {
    let now = std::time::SystemTime::now().into();
    let expires_at = now + std::time::Duration::from_secs(3600);
    let scope = Scope::parse(SCOPE).expect("a scope");
    let grant = Grant {
        id: GrantId::from_bytes(random()),
        client_id: client.clone(),
        subject: Some(Subject::new(format!("user-{number:010}")).expect("a subject")),
        grant_type: GrantType::new("authorization_code").expect("a grant type"),
        scope: scope.clone(),
        opened_at: now,
        last_used_at: now,
        expires_at,
        revoked_at: None,
        parent_grant: None,
        session: None,
        host_data: None,
        details: GrantDetails::default(),
    };
    let tokens: Vec<StoredToken> = (0..tokens)
        .map(|_| StoredToken {
            hash: TokenHash::from_bytes(Sha256::digest(random::<32>()).into()),
            kind: TokenKind::AccessToken,
            grant_id: grant.id,
            scope: scope.clone(),
            issued_at: now,
            expires_at,
            parent: None,
            spent: None,
            revoked_at: None,
            details: TokenDetails::default(),
        })
        .collect();
    let opened = ready(storage.open_grant(&Arc::new(grant), &tokens)).expect("stored");
    assert_eq!(opened, Opened::Done);
}

/// Returns the resident memory of this process in bytes, or 0 if the system does not report it.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

/// Prints the table. Each row is measured in a new process, so that no freed memory is reused.
pub fn measure(total: usize) -> std::io::Result<()> {
    println!("\n## Memory: {total} live access tokens in the memory storage\n");
    println!("| tokens a grant | bytes a token | resident bytes a token | allocations a token |");
    println!("|---:|---:|---:|---:|");
    for per_grant in [1, 10] {
        let mut row = std::process::Command::new(std::env::current_exe()?);
        let done = row.arg("--tokens").args([total, per_grant].map(|number| number.to_string())).status()?;
        if !done.success() {
            return Err(std::io::Error::other("the process that measures the memory failed"));
        }
    }
    println!(
        "\nThe columns show requested bytes, and resident pages including the overhead of the allocator. Both depend on how \
         full the hash tables are at this number of tokens. The allocations include those of the records that were passed in."
    );
    Ok(())
}

/// Measures and prints one row of the table.
pub fn row(total: usize, per_grant: usize) {
    let client = ClientId::new("client-00000000").expect("a client id");
    let grants = total / per_grant;
    let before = resident();
    let mut storage = None;
    let allocated = count(|| {
        let new = MemoryStorage::new();
        (0..grants).for_each(|number| open(&new, &client, number, per_grant));
        storage = Some(new);
    });
    let (resident, tokens) = (resident().saturating_sub(before), grants * per_grant);
    println!(
        "| {per_grant} | {} | {} | {:.1} |",
        allocated.live / tokens.cast_signed(),
        resident / tokens,
        allocated.count as f64 / tokens as f64,
    );
    drop(storage);
}

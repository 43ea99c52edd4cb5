//! Passwords: GoTrue's rules, and bcrypt hashes that `extensions.crypt` in seed SQL can make and check too.

use std::str::FromStr;

use bcrypt::{HashParts, Version};
use rand::Rng;
use rand::distr::Alphanumeric;

use super::error::{AuthError, Code, Result};

const COST: u32 = 10;
const MIN_CHARACTERS: usize = 6;
/// bcrypt ignores everything after this, so a longer password would promise a strength it does not have.
const MAX_BYTES: usize = 72;

/// Refuses passwords shorter than 6 characters (`weak_password`) or longer than 72 bytes.
pub(crate) fn check(password: &str) -> Result<()> {
    if password.len() > MAX_BYTES {
        return Err(AuthError::invalid(
            "Password cannot be longer than 72 characters",
        ));
    }
    if password.chars().count() < MIN_CHARACTERS {
        return Err(AuthError::unprocessable(
            Code::WeakPassword,
            "Password should be at least 6 characters.",
        ));
    }
    Ok(())
}

/// The bcrypt hash of `password` in the `$2a$` form, the one that pgcrypto reads. Runs on a blocking thread.
pub(crate) async fn hash(password: &str) -> Result<String> {
    let password = password.to_owned();
    blocking(move || {
        bcrypt::hash_with_result(password, COST)
            .map(|parts| parts.format_for_version(Version::TwoA))
    })
    .await?
    .map_err(|error| AuthError::internal("Error hashing the password", error))
}

/// True if `password` has the bcrypt hash `stored`. A stored value that is no bcrypt hash matches nothing.
pub(crate) async fn matches(password: &str, stored: &str) -> Result<bool> {
    let (password, stored) = (password.to_owned(), stored.to_owned());
    blocking(move || {
        password.len() <= MAX_BYTES && bcrypt::verify(password, &stored).unwrap_or(false)
    })
    .await
}

/// A hash that no password has. Checking against it makes a sign-in with an unknown address as slow as any other,
/// so that the time taken does not tell who has an account.
pub(crate) async fn unmatchable_hash() -> Result<String> {
    let password: String = rand::rng()
        .sample_iter(Alphanumeric)
        .take(40)
        .map(char::from)
        .collect();
    hash(&password).await
}

/// Accepts a hash made elsewhere (`password_hash` of the admin API) if it is bcrypt's.
pub(crate) fn check_hash(hash: &str) -> Result<()> {
    match HashParts::from_str(hash) {
        Ok(_) if hash.len() == 60 => Ok(()),
        _ => Err(AuthError::invalid(
            "password_hash must be a bcrypt hash ($2a$, $2b$ or $2y$, 60 characters)",
        )),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| AuthError::internal("The password check was interrupted", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_as_gotrue_counts_them() {
        assert_eq!(check("12345").unwrap_err().code(), Code::WeakPassword);
        assert!(check("123456").is_ok());
        assert!(check(&"x".repeat(72)).is_ok());
        assert_eq!(
            check(&"x".repeat(73)).unwrap_err().code(),
            Code::ValidationFailed
        );
        // 36 two-byte characters fill the 72 bytes.
        assert!(check(&"é".repeat(36)).is_ok());
        assert!(check(&"é".repeat(37)).is_err());
    }

    #[tokio::test]
    async fn a_hash_matches_its_password_only() {
        let stored = hash("correct horse").await.unwrap();
        assert!(stored.starts_with("$2a$10$"));
        assert!(matches("correct horse", &stored).await.unwrap());
        assert!(!matches("correct horse ", &stored).await.unwrap());
        assert!(!matches("correct horse", "").await.unwrap());
        assert!(!matches("correct horse", "not a hash").await.unwrap());
    }

    #[test]
    fn foreign_hashes_must_be_bcrypt() {
        assert!(check_hash("$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy").is_ok());
        assert!(check_hash("$argon2id$v=19$m=1,t=1,p=1$aaaa$bbbb").is_err());
        assert!(check_hash("plain").is_err());
    }
}

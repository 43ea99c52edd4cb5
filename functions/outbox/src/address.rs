//! Which addresses webhooks may reach. A name is looked up here and the connection goes to what was looked up, so that it
//! cannot mean one thing when it is checked and another when it is used.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Whether the address is one of the public internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || first == 0
        || first >= 240
        // Shared by carriers (RFC 6598), protocol assignments, relays of 6to4, benchmarks.
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 192 && second == 88 && third == 99)
        || (first == 198 && (second == 18 || second == 19)))
}

/// Global unicast, and nothing in it that leads to IPv4 addresses or is not routed. Mapped, compatible, translated, local and
/// link-local addresses all lie outside of 2000::/3.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    (first & 0xe000) == 0x2000
        // Teredo and other assignments (2001::/23), documentation, 6to4, documentation again (3fff::/20).
        && !(first == 0x2001 && second < 0x0200)
        && !(first == 0x2001 && second == 0x0db8)
        && first != 0x2002
        && !(first == 0x3fff && second < 0x1000)
}

/// Whether the address in a URL may be called, as far as it can be told without looking up its name.
pub(crate) fn may_be_called(url: &Url, allow_private: bool) -> bool {
    if allow_private {
        return matches!(url.scheme(), "http" | "https");
    }
    url.scheme() == "https"
        && match url.host() {
            Some(Host::Domain(_)) => true,
            Some(Host::Ipv4(address)) => is_public_v4(address),
            Some(Host::Ipv6(address)) => is_public_v6(address),
            None => false,
        }
}

/// Looks names up, and answers none that lead anywhere private: not even beside public ones.
pub(crate) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().all(|address| is_public(address.ip())) {
                Ok(Box::new(found.into_iter()) as Addrs)
            } else {
                Err(PRIVATE.into())
            }
        })
    }
}

/// What the resolver says of a name that leads into a private network.
pub(crate) const PRIVATE: &str = "the name leads to a private address";

/// The resolver to use, unless the system's own will do.
pub(crate) fn resolver(allow_private: bool) -> Option<Arc<PublicResolver>> {
    (!allow_private).then(|| Arc::new(PublicResolver))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn private_addresses_in_every_spelling_are_refused() {
        for address in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://017700000001/",
            "https://0.0.0.0/",
            "https://10.0.0.8/",
            "https://172.16.5.4/",
            "https://192.168.1.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://198.18.0.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:8.8.8.8]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[2001:0:7f00:1::]/",
            "https://[2001:db8::1]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[fc00::1]/",
            "https://[ff02::1]/",
            "http://example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
        ] {
            let url = Url::parse(address).unwrap();
            assert!(!may_be_called(&url, false), "{address}");
        }
        for address in [
            "https://example.com/hook",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
        ] {
            assert!(
                may_be_called(&Url::parse(address).unwrap(), false),
                "{address}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_not_resolved() {
        let refused = PublicResolver.resolve("localhost".parse().unwrap()).await;
        assert_eq!(refused.err().unwrap().to_string(), PRIVATE);
    }

    proptest! {
        #[test]
        fn nothing_mapped_from_version_4_is_public(bits in any::<u32>()) {
            let address = Ipv4Addr::from(bits);
            prop_assert!(!is_public(IpAddr::V6(address.to_ipv6_mapped())));
            prop_assert!(!is_public(IpAddr::V6(address.to_ipv6_compatible())));
        }
    }
}

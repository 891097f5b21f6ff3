use grantor::Policy;

pub fn policy(is_development: bool) -> Policy {
    let mut policy = Policy::default();
    policy.fetch.max_per_host = 300; // one host has the keys of all our clients
    policy.fetch.allowed_ports.insert(8443);
    policy.fetch.allow_loopback_for_development = is_development;
    policy
}

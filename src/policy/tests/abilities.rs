use super::*;

/// What `plan` says at `abi` about a profile of these lines: the TCP rights and scopes in force, or
/// the refusal.
fn at(abi: u32, lines: &str) -> Result<(u64, u64, Vec<String>), String> {
    let text = format!("{{version: 1, name: site, extends: [baseline], {lines}}}");
    let profile = Profile::parse("site", &text).unwrap();
    let plan = attempt(&cri(), &profile, &host(abi), &config()).map_err(|e| e.to_string())?;
    let layer = plan.policy.layers.first().cloned().unwrap_or_default();
    Ok((layer.handled_net, layer.scoped, plan.degraded))
}

#[test]
fn network_and_scope_are_enforced_accepted_as_lacking_or_refused_on_every_abi() {
    let network = "network: {connect_tcp: [443]}";
    let scope = "scope: [signal, abstract-unix-socket]";
    for abi in 0..=10 {
        for (lines, least, word, net, scoped) in
            [(network, 4, "network", 2, 0), (scope, 6, "scope", 0, 3)]
        {
            let strict = at(abi, lines);
            if abi >= least {
                let (found_net, found_scope, degraded) = strict.unwrap();
                assert_eq!(
                    (found_net, found_scope),
                    (net, scoped),
                    "ABI {abi}: {lines}"
                );
                let gone = |note: &String| note.contains("TCP") || note.contains("scoped");
                assert!(!degraded.iter().any(gone), "ABI {abi}: {degraded:?}");
                continue;
            }
            let refusal = strict.unwrap_err();
            assert!(refusal.contains("Landlock ABI"), "ABI {abi}: {refusal}");
            if abi > 0 {
                assert!(refusal.contains(&format!("[{word}]")), "{refusal}");
                let accepting = format!("{lines}, requires: {{degrade: [{word}]}}");
                let (.., degraded) = at(abi, &accepting).unwrap();
                let named = |note: &String| note.contains(&format!("below {least}"));
                assert!(degraded.iter().any(named), "ABI {abi}: {degraded:?}");
            }
            // Accepting the one lack says nothing about the other, nor about no Landlock at all.
            let other = if word == "scope" { "network" } else { "scope" };
            assert!(at(abi, &format!("{lines}, requires: {{degrade: [{other}]}}")).is_err());
            let (.., degraded) =
                at(abi, &format!("{lines}, requires: {{degrade: [landlock]}}")).unwrap();
            assert!(!degraded.is_empty(), "ABI {abi}");
        }
    }
    assert!(at(0, &format!("{network}, requires: {{degrade: [network]}}")).is_err());
}

#[test]
fn a_network_without_lists_restricts_nothing_and_needs_nothing() {
    assert!(at(1, "network: {}").is_ok());
}

#[test]
fn restricted_says_itself_that_it_goes_without_scopes() {
    let profile = Profile::builtin("restricted").unwrap();
    for abi in 0..=10 {
        let plan = attempt(&cri(), &profile, &host(abi), &config());
        assert_eq!(plan.is_ok(), abi >= 3, "ABI {abi}");
        let Ok(plan) = plan else { continue };
        let scoped = plan.policy.layers[0].scoped;
        let noted = plan.degraded.iter().any(|note| note.contains("not scoped"));
        assert_eq!(
            (scoped, noted),
            if abi < 6 { (0, true) } else { (1, false) }
        );
    }
}

//! Attack steps from public write-ups, each carried out for real where nothing stops it, under
//! RuntimeDefault, under `baseline` and under `restricted`. README.md beside this file has the
//! outcomes.

mod page;
mod run;
mod scenes;
mod steps;

use run::{Ward, outcomes};

use crate::harness::World;

#[track_caller]
fn none(what: &str, wrong: impl Iterator<Item = String>) {
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

#[test]
fn every_step_works_where_nothing_stops_it() {
    let wrong = steps::all().iter().filter_map(|step| {
        let found = outcomes().of(Ward::Nothing, step);
        if !page::present(outcomes(), step) {
            eprintln!("{}: {found}: proves nothing on this machine", step.name);
            return None;
        }
        let right = found == "worked" || step.inert.is_some();
        (!right).then(|| format!("{}: {found}", step.name))
    });
    none("did not work", wrong);
}

#[test]
fn restricted_stops_every_step_in_scope() {
    let wrong = steps::all().iter().filter_map(|step| {
        let found = outcomes().of(Ward::Restricted, step);
        let stopped = found.starts_with('E') || found == "SIGSYS";
        (!stopped && step.permitted.is_none()).then(|| format!("{}: {found}", step.name))
    });
    none("not stopped", wrong);
}

/// What is out of scope is so because ordinary programs do it: it has to work.
#[test]
fn what_is_out_of_scope_works_under_restricted() {
    let wrong = steps::all().iter().filter_map(|step| {
        let found = outcomes().of(Ward::Restricted, step);
        (step.permitted.is_some() && found != "worked").then(|| format!("{}: {found}", step.name))
    });
    none("need not be out of scope", wrong);
}

#[test]
fn an_exec_session_is_answered_as_the_workload_is() {
    let wards = [Ward::Baseline, Ward::Restricted];
    for (ward, session) in wards.into_iter().zip(&outcomes().sessions) {
        let steps = steps::all()
            .iter()
            .filter(|step| matches!(step.by, steps::By::Root | steps::By::User));
        let wrong = steps.filter_map(|step| {
            let (found, inside) = (outcomes().of(ward, step), session.get(step.name));
            let told = inside.map_or("no answer", String::as_str);
            (told != found).then(|| format!("{}: {found}, in a session {told}", step.name))
        });
        none(ward.handler(), wrong);
    }
}

#[test]
fn nothing_written_is_executed_over_crun_either() {
    let section = "Nothing written can be executed";
    // baseline is the control: these volumes and this runtime would run what is written.
    for ward in [Ward::Baseline, Ward::Restricted] {
        let answers = scenes::section_in_bundle(World::crun(), ward, section);
        assert!(answers.len() > 30, "{answers:?}");
        let steps = steps::all()
            .iter()
            .filter(|step| answers.contains_key(step.name));
        let wrong = steps.filter_map(|step| {
            let (expected, found) = (outcomes().of(ward, step), &answers[step.name]);
            (expected != found).then(|| format!("{}: {found}, over runc {expected}", step.name))
        });
        none(ward.handler(), wrong);
    }
}

#[test]
fn the_page_tells_what_happened() {
    if std::env::var_os("MANTLET_BLESS").is_some() {
        page::bless(outcomes());
    }
    let front = include_str!("../../README.md");
    let figure = format!(" {} steps of public escapes", steps::all().len());
    assert!(
        front.contains(&figure),
        "the front page does not say{figure}"
    );
    none(
        "README.md does not say (MANTLET_BLESS=1 writes it)",
        page::missing(outcomes()).into_iter(),
    );
}

//! Rules for the source tree: imports, what the sans-IO code may use, and what is forbidden.

mod circle;
mod finding;
mod folders;
mod manifest;
mod methods;
mod roof;
mod rules;
mod self_calls;
mod source;
mod token;
mod tree;

use finding::Finding;
use tree::tree;

#[test]
fn crates_depend_only_on_the_floors_below() {
    none(tree().manifests.iter().flat_map(manifest::check_floors));
}

#[test]
fn every_crate_inherits_the_lints() {
    none(tree().manifests.iter().flat_map(manifest::check_lints));
}

#[test]
fn every_crate_has_its_floor() {
    none(manifest::check_members(&tree().root));
}

#[test]
fn files_of_a_crate_form_no_circle() {
    none(tree().libraries().flat_map(|files| circle::check(&files)));
}

#[test]
fn files_of_a_type_form_no_circle_through_self() {
    none(tree().libraries().flat_map(|files| self_calls::check(&files)));
}

#[test]
fn folders_have_few_files_and_stand_in_the_order_of_the_map() {
    none(folders::check_count(&tree().sources.iter().collect::<Vec<_>>()));
    none(tree().libraries().flat_map(|files| folders::check_order(&files, &tree().map)));
}

#[test]
fn lib_rs_is_a_roof_that_nobody_inside_looks_at() {
    none(tree().libraries().flat_map(|files| roof::check(&files)));
}

#[test]
fn sans_io_code_sees_no_socket_no_clock_and_no_runtime() {
    none(tree().sources.iter().flat_map(rules::check_sans_io));
}

#[test]
fn nothing_is_unsafe_or_unfinished() {
    none(tree().sources.iter().flat_map(rules::check_words));
}

#[test]
fn files_are_short() {
    none(tree().sources.iter().flat_map(rules::check_length));
}

#[test]
fn comments_wrap() {
    none(tree().sources.iter().flat_map(rules::check_comments));
}

/// Fails with all findings, each as `file:line: what is wrong`.
#[track_caller]
fn none(findings: impl IntoIterator<Item = Finding>) {
    let findings: Vec<_> = findings.into_iter().map(|finding| finding.to_string()).collect();
    assert!(findings.is_empty(), "untidy:\n{}\n", findings.join("\n"));
}

//! A disk that fails under the program `amqp-broker`: it never hangs, loses nothing that it
//! confirmed, delivers no wrong body, and names the cause. A sample; see `tests/README.md`.

use tests::{
    disk::{FAULTS, FlipFigures, Flips, Tools, fail},
    leave_out, scale,
};

/// The number of calls of each kind that fail, and of bits that are flipped.
const CALLS: usize = 3;
const BITS: usize = 30;

fn tools(test: &str) -> Option<Tools> {
    Tools::find().inspect_err(|why| leave_out(test, &why.to_string())).ok()
}

#[tokio::test]
async fn whichever_call_fails_nothing_promised_is_lost_and_the_cause_is_named() {
    let Some(tools) = tools("failing disk") else { return };
    for fault in FAULTS {
        let calls = fail(&tools, 1, fault, 0).await.unwrap().calls;
        assert!(calls > 50, "{calls}");
        for nth in 0..CALLS * scale() {
            // The samples lie apart, wherever the calls of a run end.
            let number = 1 + calls * (2 * nth as u32 + 1) / (2 * (CALLS * scale()) as u32);
            let failed = fail(&tools, 1, fault, number).await.unwrap();
            assert!(failed.wrong.is_empty(), "{} at call {number}:\n{failed}", fault.name());
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_detected_or_harmless() {
    let Some(tools) = tools("flipped bits") else { return };
    let flips = Flips::prepare(tools, 1).await.unwrap();
    let mut figures = FlipFigures::default();
    for seed in 0..BITS * scale() {
        let wrong = flips.flip(seed as u64, &mut figures).await.unwrap();
        assert_eq!(wrong, None);
    }
    assert!(figures.detected > 0 && figures.harmless > 0, "{figures:?}");
}

//! Power losses of the program `amqp-broker`, and of a buffer of notifications: nothing that they
//! promised is lost, whatever the disk had not synced yet. A sample; see `tests/README.md`.

use tests::{
    disk::{Figures, PowerLosses, SpoolLosses, Tools},
    leave_out, scale,
};

/// The number of images that are opened, each of which takes the program a sixth of a second.
const IMAGES: usize = 40;
/// Within how many images a tail is cut off: of 40 it is one to eight.
const UNTIL_A_TAIL: usize = 1000;
/// Within how many images a weaker sync is found.
const SOON: usize = 50;

fn tools(test: &str) -> Option<Tools> {
    Tools::find().inspect_err(|why| leave_out(test, &why.to_string())).ok()
}

#[tokio::test]
async fn nothing_promised_is_lost_with_the_power() {
    let Some(tools) = tools("power loss") else { return };
    let losses = PowerLosses::record(tools, 1, false).await.unwrap();
    let mut figures = Figures::default();
    while figures.images < IMAGES * scale() || figures.tails_told == 0 {
        if let Some(failure) = losses.open(figures.images, &mut figures).await.unwrap() {
            panic!("{failure}");
        }
        assert!(figures.images < UNTIL_A_TAIL || figures.tails_told > 0, "{figures:?}");
    }
}

#[tokio::test]
async fn a_disk_that_ignores_syncs_of_data_is_found() {
    let Some(tools) = tools("power loss") else { return };
    let losses = PowerLosses::record(tools, 1, true).await.unwrap();
    let mut figures = Figures::default();
    for image in 0..SOON {
        if losses.open(image, &mut figures).await.unwrap().is_some() {
            return;
        }
    }
    panic!("nothing is lost in {SOON} images");
}

#[test]
fn no_notification_that_a_buffer_on_disk_has_taken_is_lost_with_the_power() {
    let Some(tools) = tools("power loss of a buffer") else { return };
    let losses = SpoolLosses::record(tools, 1, false).unwrap();
    for image in 0..IMAGES * scale() {
        assert_eq!(losses.open(image).unwrap(), None);
    }
}

#[test]
fn a_disk_that_ignores_syncs_of_data_is_found_under_a_buffer_too() {
    let Some(tools) = tools("power loss of a buffer") else { return };
    let losses = SpoolLosses::record(tools, 1, true).unwrap();
    assert!((0..SOON).any(|image| losses.open(image).unwrap().is_some()), "nothing is lost in {SOON} images");
}

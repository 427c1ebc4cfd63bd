//! Disturbances of a run, at their times.

use std::time::Duration;

use amqp_broker::{ConnectionInfo, Direction, PublishFault};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    scenario::{Disturbance, Fault, Planned, PublishKind, QUEUES, client_name, own_queue},
    topology::Name,
    world::World,
};

const FORCED: u16 = 320;
const FORCED_TEXT: &str = "CONNECTION_FORCED - as planned";
const FAILED: u16 = 406;
/// The text of a channel that is closed by a disturbance.
pub(super) const FAILED_TEXT: &str = "PRECONDITION_FAILED - as planned";

/// Disturbs a run, as planned.
pub(super) async fn disturb(world: World, planned: Vec<Planned>) {
    let began = Instant::now();
    for Planned { number, at, disturbance } in planned {
        sleep_until(began + at).await;
        world.log.add(format_args!("disturbance {number}: {disturbance:?}"));
        apply(&world, disturbance).await;
    }
}

async fn apply(world: &World, disturbance: Disturbance) {
    match disturbance {
        Disturbance::Cut { client } => world.network.cut(client),
        Disturbance::Stall { client } => world.network.stall(client),
        Disturbance::Hold { client, milliseconds } => {
            world.network.hold(client, Duration::from_millis(milliseconds));
        }
        Disturbance::CutAfter { client, to_broker, octets } => {
            world.network.cut_after(client, to_broker, octets);
        }
        Disturbance::Restart { is_orderly, milliseconds } => {
            world.topology.forget_transient();
            if is_orderly {
                world.lives.end().await;
            } else {
                world.lives.die();
            }
            world.lives.rise_after(Duration::from_millis(milliseconds)).await;
            world.topology.forget_transient();
        }
        Disturbance::Fault(fault) => inject(world, fault),
    }
}

fn inject(world: &World, fault: Fault) {
    let broker = world.lives.broker();
    let faults = broker.faults();
    let of = |client| {
        let name = client_name(client);
        let is_its = move |info: &ConnectionInfo| info.client_name.as_deref() == Some(&name);
        broker.connections().into_iter().filter(is_its).map(|info| info.id).collect::<Vec<_>>()
    };
    match fault {
        Fault::DropConnections => faults.drop_connections(),
        Fault::DropConnection { client } => {
            of(client).into_iter().for_each(|id| _ = faults.drop_connection(id));
        }
        Fault::DropNamed { client } => _ = faults.drop_connections_named(&client_name(client)),
        Fault::CloseNamed { client } => {
            faults.close_connections_named(&client_name(client), FORCED, FORCED_TEXT);
        }
        Fault::CloseConnection { client } => {
            of(client).into_iter().for_each(|id| _ = faults.close_connection(id, FORCED, FORCED_TEXT));
        }
        Fault::CloseChannel { client, channel } => {
            of(client).into_iter().for_each(|id| _ = faults.close_channel(id, channel, FAILED, FAILED_TEXT));
        }
        Fault::DropAtFrame { to_broker, frame } => {
            faults.drop_at_frame(if to_broker { Direction::In } else { Direction::Out }, frame);
        }
        Fault::RefuseFor { milliseconds } => {
            faults.refuse_connections_for(Duration::from_millis(milliseconds));
        }
        Fault::Refuse { count } => faults.refuse_connections(count),
        Fault::DelayAnswers { milliseconds } => faults.delay_answers(Duration::from_millis(milliseconds)),
        Fault::Block { milliseconds } => {
            faults.block("as planned");
            tokio::spawn(async move {
                sleep(Duration::from_millis(milliseconds)).await;
                faults.unblock();
            });
        }
        Fault::Nack { count } => faults.nack_publishes(count),
        Fault::AtPublish { n, kind } => faults.at_publish(n, publish_fault(kind)),
        Fault::AtPublishOf { client, n, kind } => {
            faults.at_publish_of(&client_name(client), n, publish_fault(kind));
        }
        Fault::Return { count } => faults.return_publishes(count),
        Fault::SwallowConfirms { count } => faults.swallow_confirms(count),
        Fault::CancelConsumers { queue } => _ = faults.cancel_consumers("/", QUEUES[queue], None),
        Fault::DeleteOwn { client, own } => {
            let name = own_queue(client, own);
            world.topology.steal(&Name::Queue(name.clone()));
            faults.delete_queue("/", &name);
        }
        Fault::Clear => faults.clear(),
    }
}

fn publish_fault(kind: PublishKind) -> PublishFault {
    match kind {
        PublishKind::DropConnection => PublishFault::DropConnection,
        PublishKind::CloseConnection => {
            PublishFault::CloseConnection { code: FORCED, text: FORCED_TEXT.to_owned() }
        }
        PublishKind::CloseChannel => {
            PublishFault::CloseChannel { code: FAILED, text: FAILED_TEXT.to_owned() }
        }
        PublishKind::Nack => PublishFault::Nack,
        PublishKind::Return => PublishFault::Return,
    }
}

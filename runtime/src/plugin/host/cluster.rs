//! `tulpar:plugin/cluster`.

use tokio::time::timeout;
use wasmtime::Result;

use super::super::bindings::tulpar::plugin::cluster::{Count, Host, Listing};
use super::HostState;
use crate::backplane::{Answer, Question};

impl HostState {
    /// What all nodes have to say about the plugin's own namespace.
    async fn ask(&mut self, question: Question) -> Answer {
        let namespace = self.namespace.as_ref();
        // Nobody is in a room that there cannot be, on any node.
        let Some(namespace) = namespace.filter(|_| !question.is_about_no_room()) else {
            return Answer::of([], 1, 0);
        };
        let asking = self.shared.backplane.ask(namespace, question.clone());
        match timeout(self.patience(), asking).await {
            Ok(answer) => answer,
            // All others are, for all that is known.
            Err(_) => {
                let others = self.shared.backplane.numbers().others;
                let others = u32::try_from(others).unwrap_or(u32::MAX);
                Answer::of([question.answer(namespace)], 1, others)
            }
        }
    }

    async fn count(&mut self, question: Question) -> Result<Count> {
        let answer = self.ask(question).await;
        Ok(Count {
            count: answer.count,
            nodes: answer.nodes,
            silent: answer.silent,
        })
    }

    async fn list(&mut self, question: Question) -> Result<Listing> {
        let answer = self.ask(question).await;
        Ok(Listing {
            names: answer.names,
            more: answer.more,
            nodes: answer.nodes,
            silent: answer.silent,
        })
    }
}

impl Host for HostState {
    async fn socket_count(&mut self) -> Result<Count> {
        self.count(Question::SocketCount).await
    }

    async fn socket_ids(&mut self) -> Result<Listing> {
        self.list(Question::SocketIds).await
    }

    async fn room_names(&mut self) -> Result<Listing> {
        self.list(Question::RoomNames).await
    }

    async fn room_count(&mut self, room: String) -> Result<Count> {
        self.count(Question::RoomCount(room)).await
    }

    async fn room_members(&mut self, room: String) -> Result<Listing> {
        self.list(Question::RoomMembers(room)).await
    }
}

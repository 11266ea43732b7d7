//! The policy's table as data. The shipped table comes from the policy's own function; others are made by changing
//! arms.

use switchover_protocol::{Operation, Phase, Plan, Profile, Side, plan, route};

/// What the policy answers for every phase, profile and operation, and for the router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    plans: [[[Option<Plan>; Operation::ALL.len()]; Profile::ALL.len()]; Phase::ALL.len()],
    routes: [[Option<Side>; Profile::ALL.len()]; Phase::ALL.len()],
}

impl Table {
    /// The table of the policy `phased`: every answer of [`switchover_protocol::plan()`] and
    /// [`switchover_protocol::route`].
    pub fn shipped() -> Self {
        Self {
            plans: Phase::ALL.map(|phase| {
                Profile::ALL.map(|profile| Operation::ALL.map(|operation| plan(phase, profile, operation)))
            }),
            routes: Phase::ALL.map(|phase| Profile::ALL.map(|profile| route(phase, profile))),
        }
    }

    /// The plan of an operation. `None` if the profile has no such phase.
    pub fn plan(&self, phase: Phase, profile: Profile, operation: Operation) -> Option<&Plan> {
        self.plans[phase as usize][profile as usize][operation as usize].as_ref()
    }

    /// Where the router sends the application.
    pub fn route(&self, phase: Phase, profile: Profile) -> Option<Side> {
        self.routes[phase as usize][profile as usize]
    }

    /// Sets another plan for one operation of one phase.
    pub fn set_plan(&mut self, phase: Phase, profile: Profile, operation: Operation, plan: Plan) {
        self.plans[phase as usize][profile as usize][operation as usize] = Some(plan);
    }

    /// Sets another plan for every operation of one phase.
    pub fn set_phase(&mut self, phase: Phase, profile: Profile, plan: impl Fn(Operation) -> Plan) {
        for operation in Operation::ALL {
            self.set_plan(phase, profile, operation, plan(operation));
        }
    }

    /// Sets another answer of the router.
    pub fn set_route(&mut self, phase: Phase, profile: Profile, side: Side) {
        self.routes[phase as usize][profile as usize] = Some(side);
    }
}

//! What people do to a course, and what should come of it: written from the rules, not from the SQL.

use std::collections::BTreeMap;

use proptest::prelude::*;

/// Lessons of the course.
pub const LESSONS: usize = 4;
/// People who learn.
pub const LEARNERS: usize = 2;

/// Something that somebody does.
#[derive(Debug, Clone)]
pub enum Deed {
    /// The author makes a lesson required, or optional.
    Require(usize, bool),
    /// The author takes a lesson into the draft, or out of it.
    Include(usize, bool),
    /// The author publishes.
    Publish,
    /// The author moves people to the latest version: everybody, or those who have not begun.
    Migrate(bool),
    /// A learner enrols, again if need be.
    Enroll(usize),
    /// A learner reports a percentage.
    Record(usize, usize, u8),
    /// A learner pauses, resumes or drops the course.
    SetStatus(usize, &'static str),
    /// HR sets a percentage.
    Correct(usize, usize, u8),
    /// A learner rates the course, or takes the review back.
    Review(usize, Option<u8>),
}

fn percentage() -> impl Strategy<Value = u8> {
    prop_oneof![
        Just(0_u8),
        Just(40),
        Just(99),
        Just(100),
        Just(100),
        Just(100)
    ]
}

/// A sequence of deeds.
pub fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let (lesson, learner) = (0..LESSONS, 0..LEARNERS);
    let deed = prop_oneof![
        1 => (lesson.clone(), any::<bool>()).prop_map(|(l, on)| Deed::Require(l, on)),
        1 => (lesson.clone(), any::<bool>()).prop_map(|(l, on)| Deed::Include(l, on)),
        2 => Just(Deed::Publish),
        1 => any::<bool>().prop_map(Deed::Migrate),
        3 => learner.clone().prop_map(Deed::Enroll),
        8 => (learner.clone(), lesson.clone(), percentage()).prop_map(|(p, l, n)| Deed::Record(p, l, n)),
        2 => (learner.clone(), prop_oneof![Just("paused"), Just("resumed"), Just("dropped")])
            .prop_map(|(p, status)| Deed::SetStatus(p, status)),
        1 => (learner.clone(), lesson, percentage()).prop_map(|(p, l, n)| Deed::Correct(p, l, n)),
        2 => (learner, proptest::option::of(1_u8..=5)).prop_map(|(p, rating)| Deed::Review(p, rating)),
    ];
    proptest::collection::vec(deed, 1..40)
}

/// Which lessons a version holds, and whether they are required.
pub type Version = BTreeMap<usize, bool>;

/// One cycle of a learner.
#[derive(Debug, Clone)]
pub struct Cycle {
    /// Counts from 0.
    pub version: usize,
    pub status: &'static str,
    pub begun: bool,
    pub reached: BTreeMap<usize, u8>,
    /// Done and total, as they were when it ended.
    pub ended_with: Option<(usize, usize)>,
}

impl Cycle {
    pub fn is_open(&self) -> bool {
        ["enrolled", "in_progress", "paused"].contains(&self.status)
    }
}

/// The state of the world.
#[derive(Debug, Clone)]
pub struct Model {
    pub draft: BTreeMap<usize, (bool, bool)>,
    pub versions: Vec<Version>,
    pub cycles: [Vec<Cycle>; LEARNERS],
    pub ratings: BTreeMap<usize, u8>,
}

impl Model {
    /// A published course of required lessons that nobody takes.
    pub fn new() -> Self {
        Self {
            draft: (0..LESSONS).map(|lesson| (lesson, (true, true))).collect(),
            versions: vec![(0..LESSONS).map(|lesson| (lesson, true)).collect()],
            cycles: Default::default(),
            ratings: BTreeMap::new(),
        }
    }

    pub fn count(&self, cycle: &Cycle) -> (usize, usize) {
        if let Some(counts) = cycle.ended_with {
            return counts;
        }
        let required: Vec<_> = self.versions[cycle.version]
            .iter()
            .filter(|(_, required)| **required)
            .map(|(lesson, _)| *lesson)
            .collect();
        let done = required
            .iter()
            .filter(|lesson| cycle.reached.get(lesson) == Some(&100))
            .count();
        (done, required.len())
    }

    /// Does it; the answer is the code of the refusal, if it is refused.
    pub fn apply(&mut self, deed: &Deed) -> Result<(), &'static str> {
        match *deed {
            Deed::Require(lesson, on) => {
                self.draft
                    .entry(lesson)
                    .and_modify(|(_, required)| *required = on);
                Ok(())
            }
            Deed::Include(lesson, on) => {
                self.draft
                    .entry(lesson)
                    .and_modify(|(included, _)| *included = on);
                Ok(())
            }
            Deed::Publish => self.publish(),
            Deed::Migrate(everybody) => {
                self.migrate(everybody);
                Ok(())
            }
            Deed::Enroll(learner) => self.enroll(learner),
            Deed::Record(learner, lesson, percentage) => self.record(learner, lesson, percentage),
            Deed::SetStatus(learner, status) => self.set_status(learner, status),
            Deed::Correct(learner, lesson, percentage) => self.correct(learner, lesson, percentage),
            Deed::Review(learner, rating) => self.review(learner, rating),
        }
    }

    fn publish(&mut self) -> Result<(), &'static str> {
        let next: Version = self
            .draft
            .iter()
            .filter(|(_, (included, _))| *included)
            .map(|(lesson, (_, required))| (*lesson, *required))
            .collect();
        if !next.values().any(|required| *required) {
            return Err("not_publishable");
        }
        if self.versions.last() != Some(&next) {
            self.versions.push(next);
        }
        Ok(())
    }

    fn migrate(&mut self, everybody: bool) {
        let latest = self.versions.len() - 1;
        for learner in 0..LEARNERS {
            let Some(place) = self.open_cycle(learner) else {
                continue;
            };
            let cycle = &mut self.cycles[learner][place];
            if cycle.version != latest && (everybody || !cycle.begun) {
                cycle.version = latest;
                self.settle(learner, place);
            }
        }
    }

    fn enroll(&mut self, learner: usize) -> Result<(), &'static str> {
        if self.open_cycle(learner).is_some() {
            return Err("not_eligible");
        }
        self.cycles[learner].push(Cycle {
            version: self.versions.len() - 1,
            status: "enrolled",
            begun: false,
            reached: BTreeMap::new(),
            ended_with: None,
        });
        Ok(())
    }

    fn record(
        &mut self,
        learner: usize,
        lesson: usize,
        percentage: u8,
    ) -> Result<(), &'static str> {
        let place = self.open_cycle(learner).or_else(|| {
            self.cycles[learner]
                .iter()
                .rposition(|cycle| cycle.status == "completed")
        });
        let Some(place) = place else {
            // What is in no draft is not seen by somebody who takes nothing.
            return Err(if self.draft[&lesson].0 {
                "not_enrolled"
            } else {
                "lesson_not_found"
            });
        };
        let in_version = self.versions[self.cycles[learner][place].version].contains_key(&lesson);
        let cycle = &mut self.cycles[learner][place];
        match cycle.status {
            "paused" => return Err("enrollment_paused"),
            // A replay that changes nothing of the course.
            "completed" => return Ok(()),
            _ if !in_version => return Err("lesson_not_in_version"),
            _ => {}
        }
        let now = cycle.reached.entry(lesson).or_insert(0);
        *now = percentage.max(*now);
        cycle.begun = true;
        cycle.status = "in_progress";
        self.settle(learner, place);
        Ok(())
    }

    fn set_status(&mut self, learner: usize, wanted: &'static str) -> Result<(), &'static str> {
        let Some(place) = self.cycles[learner].len().checked_sub(1) else {
            return Ok(());
        };
        let cycle = &mut self.cycles[learner][place];
        cycle.status = match (cycle.status, wanted) {
            (now, wanted) if now == wanted => now,
            ("paused", "resumed") if cycle.begun => "in_progress",
            ("paused", "resumed") => "enrolled",
            ("enrolled" | "in_progress", "paused") => "paused",
            ("enrolled" | "in_progress" | "paused", "dropped") => "dropped",
            _ => return Err("transition_not_allowed"),
        };
        self.settle(learner, place);
        Ok(())
    }

    fn correct(
        &mut self,
        learner: usize,
        lesson: usize,
        percentage: u8,
    ) -> Result<(), &'static str> {
        let Some(place) = self.cycles[learner].len().checked_sub(1) else {
            return Ok(());
        };
        let in_version = self.versions[self.cycles[learner][place].version].contains_key(&lesson);
        let cycle = &mut self.cycles[learner][place];
        if !["enrolled", "in_progress"].contains(&cycle.status) {
            return Err("enrollment_not_open");
        } else if !in_version {
            return Err("lesson_not_found");
        }
        cycle.reached.insert(lesson, percentage);
        cycle.begun = true;
        cycle.status = "in_progress";
        self.settle(learner, place);
        Ok(())
    }

    fn review(&mut self, learner: usize, rating: Option<u8>) -> Result<(), &'static str> {
        match rating {
            None => {
                self.ratings.remove(&learner);
            }
            Some(_)
                if !self.ratings.contains_key(&learner)
                    && !self.cycles[learner].iter().any(|cycle| cycle.begun) =>
            {
                return Err("course_not_started");
            }
            Some(rating) => {
                self.ratings.insert(learner, rating);
            }
        }
        Ok(())
    }

    fn open_cycle(&self, learner: usize) -> Option<usize> {
        self.cycles[learner].iter().position(Cycle::is_open)
    }

    /// Completes a cycle of which everything is done, and remembers what an ended one ended with.
    fn settle(&mut self, learner: usize, place: usize) {
        let (done, total) = self.count(&self.cycles[learner][place]);
        let cycle = &mut self.cycles[learner][place];
        if ["enrolled", "in_progress"].contains(&cycle.status) && total > 0 && done == total {
            cycle.status = "completed";
            cycle.begun = true;
        }
        if !cycle.is_open() {
            cycle.ended_with = Some((done, total));
        }
    }
}

//! An Exercism track, as its `config.json` describes it: exercises that teach concepts, and exercises that practise them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::document::{
    Block, Course, Decimal, Lesson, LessonSkill, Module, Object, Skill, find_circle, manual,
    slug_of, teaches, title_of,
};
use super::source::{Curriculum, Lines, reason};
use crate::import::Action::{Flagged, Repaired, Skipped};
use crate::import::Reason;

const FILE: &str = "config.json";

static DEPRECATED: Reason = reason(Skipped, "deprecated", "exercise is deprecated");
static FOREGONE: Reason = reason(
    Skipped,
    "foregone",
    "exercise that the track does without on purpose",
);
static DUPLICATE: Reason = reason(
    Skipped,
    "duplicate",
    "exercise is there already; the first one stands",
);
static MALFORMED: Reason = reason(
    Skipped,
    "malformed_slug",
    "exercise without a proper slug or name",
);
static NOTHING_TEACHES: Reason = reason(
    Repaired,
    "nothing_teaches",
    "prerequisite that no exercise teaches; left out",
);
static TEACHES_ITSELF: Reason = reason(
    Repaired,
    "teaches_itself",
    "prerequisite that only the exercise itself teaches; left out",
);
static TAUGHT_UNPUBLISHED: Reason = reason(
    Repaired,
    "taught_by_work_in_progress",
    "prerequisite that only unpublished exercises teach; left out",
);
static CIRCLE: Reason = reason(
    Repaired,
    "circle",
    "prerequisite that closes a circle; left out",
);
static WORK_IN_PROGRESS: Reason = reason(
    Flagged,
    "work_in_progress",
    "exercise is not ready; its lesson is not published",
);
static UNDECLARED: Reason = reason(
    Flagged,
    "undeclared_concept",
    "concept is not on the track's list; named after its slug",
);

#[derive(Deserialize)]
struct Track {
    language: String,
    slug: String,
    #[serde(default)]
    blurb: String,
    exercises: Exercises,
    #[serde(default)]
    concepts: Vec<Concept>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Exercises {
    #[serde(default)]
    concept: Vec<Exercise>,
    #[serde(default)]
    practice: Vec<Exercise>,
    #[serde(default)]
    foregone: Vec<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Exercise {
    slug: String,
    name: String,
    #[serde(default)]
    uuid: String,
    #[serde(default)]
    concepts: Vec<String>,
    #[serde(default)]
    practices: Vec<String>,
    #[serde(default)]
    prerequisites: Vec<String>,
    difficulty: Option<u32>,
    status: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Concept {
    slug: String,
    name: String,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl Exercise {
    fn is_unpublished(&self) -> bool {
        self.status.as_deref() == Some("wip")
    }

    fn has_status(&self, status: &str) -> bool {
        self.status.as_deref() == Some(status)
    }
}

/// Reads a track's `config.json`; the course is called `slug` if that is given.
pub(super) fn read(text: &str, slug: Option<&str>) -> Result<Curriculum> {
    let track: Track =
        serde_json::from_str(text).context("this is no config.json of an Exercism track")?;
    let lines = Lines::new(FILE, text);
    let mut curriculum = Curriculum {
        not_imported: not_imported(&track),
        ..Curriculum::default()
    };
    for slug in &track.exercises.foregone {
        curriculum
            .remarks
            .push(lines.remark(slug, 0, &FOREGONE, slug));
    }

    let (concept, practice) = live(&track.exercises, &lines, &mut curriculum);
    let teachers = teachers(&concept);
    let edges = prerequisites(&concept, &practice, &teachers, &lines, &mut curriculum);
    let names: HashMap<&str, &str> = track
        .concepts
        .iter()
        .map(|concept| (concept.slug.as_str(), concept.name.as_str()))
        .collect();

    let mut course = Course::new(slug.unwrap_or(&track.slug), &track.language);
    course.description.clone_from(&track.blurb);
    course.metadata = Object::of("source", format!("exercism/{}", track.slug));
    course.tags = Some(
        track
            .tags
            .iter()
            .map(|tag| slug_of(tag, 90))
            .filter(|tag| !tag.is_empty())
            .collect(),
    );
    let used: BTreeSet<&str> = concept
        .iter()
        .chain(&practice)
        .flat_map(|exercise| exercise.concepts.iter().chain(&exercise.practices))
        .map(String::as_str)
        .collect();
    for key in used {
        let name = names.get(key).map_or_else(
            || {
                curriculum
                    .remarks
                    .push(lines.remark(key, 0, &UNDECLARED, key));
                title_of(key)
            },
            |name| (*name).to_owned(),
        );
        course.skills.push(Skill {
            key: key.to_owned(),
            name,
            description: String::new(),
        });
    }
    course.modules = modules(&track.slug, &concept, &practice, &edges);
    course.put_in_order();
    curriculum.courses.push(course);
    Ok(curriculum)
}

/// What the file says and no lesson does.
fn not_imported(track: &Track) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for key in track.rest.keys() {
        *counts.entry(key.clone()).or_default() += 1;
    }
    for key in track.exercises.rest.keys() {
        *counts.entry(format!("exercises.{key}")).or_default() += 1;
    }
    let exercises = track
        .exercises
        .concept
        .iter()
        .chain(&track.exercises.practice);
    for key in exercises.flat_map(|exercise| exercise.rest.keys()) {
        *counts.entry(format!("exercise.{key}")).or_default() += 1;
    }
    for concept in &track.concepts {
        for key in concept.rest.keys().filter(|key| *key != "uuid") {
            *counts.entry(format!("concept.{key}")).or_default() += 1;
        }
    }
    let used: HashSet<&str> = track
        .exercises
        .concept
        .iter()
        .chain(&track.exercises.practice)
        .flat_map(|exercise| exercise.concepts.iter().chain(&exercise.practices))
        .map(String::as_str)
        .collect();
    let unused = track
        .concepts
        .iter()
        .filter(|concept| !used.contains(concept.slug.as_str()))
        .count();
    if unused > 0 {
        counts.insert(
            "concepts that no exercise is about".to_owned(),
            unused as u64,
        );
    }
    counts.into_iter().collect()
}

/// The exercises that become lessons.
fn live<'a>(
    exercises: &'a Exercises,
    lines: &Lines<'_>,
    curriculum: &mut Curriculum,
) -> (Vec<&'a Exercise>, Vec<&'a Exercise>) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut keep = |exercise: &&'a Exercise| {
        let nth = seen.entry(&exercise.slug).or_default();
        *nth += 1;
        let fault =
            if !super::document::is_slug(&exercise.slug, 100) || exercise.name.trim().is_empty() {
                &MALFORMED
            } else if *nth > 1 {
                &DUPLICATE
            } else if exercise.has_status("deprecated") {
                &DEPRECATED
            } else {
                if exercise.is_unpublished() {
                    curriculum.remarks.push(lines.remark(
                        &exercise.slug,
                        0,
                        &WORK_IN_PROGRESS,
                        &exercise.slug,
                    ));
                }
                return true;
            };
        curriculum
            .remarks
            .push(lines.remark(&exercise.slug, *nth - 1, fault, &exercise.slug));
        false
    };
    let concept = exercises.concept.iter().filter(&mut keep).collect();
    let practice = exercises.practice.iter().filter(&mut keep).collect();
    (concept, practice)
}

type Teachers<'a> = HashMap<&'a str, Vec<&'a Exercise>>;

fn teachers<'a>(concept: &[&'a Exercise]) -> Teachers<'a> {
    let mut teachers = Teachers::new();
    for exercise in concept {
        for key in &exercise.concepts {
            teachers.entry(key).or_default().push(exercise);
        }
    }
    teachers
}

type Edges<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// Which lesson waits for which.
fn prerequisites<'a>(
    concept: &[&'a Exercise],
    practice: &[&'a Exercise],
    teachers: &Teachers<'a>,
    lines: &Lines<'_>,
    curriculum: &mut Curriculum,
) -> Edges<'a> {
    let mut edges = Edges::new();
    for exercise in concept.iter().chain(practice) {
        let mut needed: Vec<&str> = Vec::new();
        for key in &exercise.prerequisites {
            let all = teachers.get(key.as_str()).map_or(&[][..], Vec::as_slice);
            let others: Vec<_> = all
                .iter()
                .filter(|teacher| teacher.slug != exercise.slug)
                .collect();
            let fine: Vec<_> = others
                .iter()
                .filter(|teacher| exercise.is_unpublished() || !teacher.is_unpublished())
                .collect();
            let fault = if all.is_empty() {
                &NOTHING_TEACHES
            } else if others.is_empty() {
                &TEACHES_ITSELF
            } else if fine.is_empty() {
                &TAUGHT_UNPUBLISHED
            } else {
                needed.extend(fine.iter().map(|teacher| teacher.slug.as_str()));
                continue;
            };
            curriculum.remarks.push(lines.remark(
                &exercise.slug,
                0,
                fault,
                format!("{} needs {key}", exercise.slug),
            ));
        }
        needed.sort_unstable();
        needed.dedup();
        edges.insert(&exercise.slug, needed);
    }
    while let Some(circle) = find_circle(&edges) {
        // The last of the circle waits for the first.
        let (Some(&first), Some(&last)) = (circle.first(), circle.last()) else {
            break;
        };
        curriculum.remarks.push(lines.remark(
            last,
            0,
            &CIRCLE,
            format!("{last} needs {first}: {}", circle.join(", ")),
        ));
        if let Some(needed) = edges.get_mut(last) {
            needed.retain(|key| *key != first);
        }
    }
    edges
}

/// The concepts, and the practice by the track's own degrees of difficulty.
fn modules(
    track: &str,
    concept: &[&Exercise],
    practice: &[&Exercise],
    edges: &Edges<'_>,
) -> Vec<Module> {
    let parts: [(&str, &str, Vec<&Exercise>); 4] = [
        ("concepts", "Concepts", concept.to_vec()),
        (
            "practice-easy",
            "Practice: easy",
            of_difficulty(practice, |difficulty| difficulty <= 3),
        ),
        (
            "practice-medium",
            "Practice: medium",
            of_difficulty(practice, |difficulty| (4..=7).contains(&difficulty)),
        ),
        (
            "practice-hard",
            "Practice: hard",
            of_difficulty(practice, |difficulty| difficulty > 7),
        ),
    ];
    parts
        .into_iter()
        .filter(|(_, _, exercises)| !exercises.is_empty())
        .map(|(key, title, exercises)| Module {
            key: key.to_owned(),
            title: title.to_owned(),
            description: String::new(),
            lessons: exercises
                .iter()
                .map(|exercise| lesson(track, exercise, edges))
                .collect(),
        })
        .collect()
}

fn of_difficulty<'a>(exercises: &[&'a Exercise], is_it: impl Fn(u32) -> bool) -> Vec<&'a Exercise> {
    exercises
        .iter()
        .filter(|exercise| is_it(exercise.difficulty.unwrap_or(1)))
        .copied()
        .collect()
}

fn lesson(track: &str, exercise: &Exercise, edges: &Edges<'_>) -> Lesson {
    let mut skills: BTreeMap<&str, &str> = BTreeMap::new();
    for key in &exercise.practices {
        skills.insert(key, "practices");
    }
    for key in &exercise.concepts {
        skills.insert(key, "teaches");
    }
    let mut metadata = Map::new();
    metadata.insert("exercism_uuid".to_owned(), json!(exercise.uuid));
    if let Some(status) = &exercise.status {
        metadata.insert("exercism_status".to_owned(), json!(status));
    }
    Lesson {
        key: exercise.slug.clone(),
        title: exercise.name.clone(),
        description: exercise.difficulty.map_or_else(String::new, |difficulty| {
            format!("Difficulty {difficulty} of 10.")
        }),
        kind: "code_exercise".to_owned(),
        duration: None,
        requires_completion: true,
        is_published: !exercise.is_unpublished(),
        is_preview: false,
        objectives: Vec::new(),
        skills: skills
            .into_iter()
            .map(|(key, part)| LessonSkill {
                key: key.to_owned(),
                part: if part == "teaches" {
                    teaches()
                } else {
                    part.to_owned()
                },
                mastery_threshold: None,
            })
            .collect(),
        prerequisites: edges
            .get(exercise.slug.as_str())
            .map(|needed| needed.iter().map(|key| (*key).to_owned()).collect())
            .unwrap_or_default(),
        completion_rule: manual(),
        required_watched_percentage: Decimal::ninety(),
        release_after_days: None,
        release_on: None,
        blocks: vec![Block {
            kind: "link".to_owned(),
            title: None,
            is_optional: false,
            content: Object(Map::from_iter([
                (
                    "url".to_owned(),
                    json!(format!(
                        "https://exercism.org/tracks/{track}/exercises/{}",
                        exercise.slug
                    )),
                ),
                ("title".to_owned(), json!(exercise.name)),
            ])),
            metadata: Object(metadata),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(curriculum: &Curriculum) -> Vec<(&str, &str, u64)> {
        curriculum
            .remarks
            .iter()
            .map(|located| {
                (
                    located.remark.reason.code,
                    located.remark.detail.as_str(),
                    located.line,
                )
            })
            .collect()
    }

    const TRACK: &str = r#"{
  "language": "Small", "slug": "small", "blurb": "Little.", "tags": ["typing/strong"], "version": 3,
  "exercises": {
    "concept": [
      {"slug": "one", "name": "One", "uuid": "1", "concepts": ["ones"], "prerequisites": ["threes"], "status": "beta"},
      {"slug": "two", "name": "Two", "uuid": "2", "concepts": ["twos"], "prerequisites": ["ones", "twos"]},
      {"slug": "three", "name": "Three", "uuid": "3", "concepts": ["threes"], "prerequisites": ["twos"]},
      {"slug": "draft", "name": "Draft", "uuid": "4", "concepts": ["drafts"], "prerequisites": ["air"], "status": "wip"}
    ],
    "practice": [
      {"slug": "old", "name": "Old", "uuid": "5", "practices": ["ones"], "prerequisites": [], "difficulty": 1, "status": "deprecated"},
      {"slug": "hard", "name": "Hard", "uuid": "6", "practices": ["ones"], "prerequisites": ["ones", "drafts"], "difficulty": 9},
      {"slug": "hard", "name": "Hard again", "uuid": "7", "practices": [], "prerequisites": [], "difficulty": 1},
      {"slug": "No", "name": "No", "uuid": "8", "practices": [], "prerequisites": [], "difficulty": 1}
    ],
    "foregone": ["never"]
  },
  "concepts": [{"slug": "ones", "name": "The Ones", "uuid": "9"}, {"slug": "twos", "name": "Twos", "uuid": "10"},
    {"slug": "threes", "name": "Threes", "uuid": "11"}, {"slug": "lost", "name": "Lost", "uuid": "12"}]
}"#;

    #[test]
    fn says_what_it_does_not_take_as_it_stands() {
        let curriculum = read(TRACK, None).unwrap();
        let mut found = codes(&curriculum);
        found.sort_unstable();
        assert_eq!(
            found,
            [
                ("circle", "two needs one: one, three, two", 6),
                ("deprecated", "old", 11),
                ("duplicate", "hard", 13),
                ("foregone", "never", 16),
                ("malformed_slug", "No", 14),
                ("nothing_teaches", "draft needs air", 8),
                ("taught_by_work_in_progress", "hard needs drafts", 12),
                ("teaches_itself", "two needs twos", 6),
                ("undeclared_concept", "drafts", 8),
                ("work_in_progress", "draft", 8),
            ]
        );
        assert_eq!(
            curriculum.not_imported,
            [
                ("concepts that no exercise is about".to_owned(), 1),
                ("version".to_owned(), 1)
            ]
        );
    }

    #[test]
    fn makes_one_course_with_concepts_as_skills() {
        let curriculum = read(TRACK, Some("mine")).unwrap();
        let [course] = &curriculum.courses[..] else {
            panic!("one course is due");
        };
        assert_eq!(course.faults(), []);
        assert_eq!(course.slug, "mine");
        assert_eq!(course.tags, Some(vec!["typing-strong".to_owned()]));
        let modules: Vec<_> = course
            .modules
            .iter()
            .map(|module| (module.key.as_str(), module.lessons.len()))
            .collect();
        assert_eq!(modules, [("concepts", 4), ("practice-hard", 1)]);
        let hard = course.lessons().last().unwrap();
        assert_eq!(hard.prerequisites, ["one"]);
        assert_eq!(
            (hard.skills[0].key.as_str(), hard.skills[0].part.as_str()),
            ("ones", "practices")
        );
        let draft = course
            .lessons()
            .find(|lesson| lesson.key == "draft")
            .unwrap();
        assert!(!draft.is_published);
        assert_eq!(course.skills[1].name, "The Ones");
    }
}

//! A course as a folder of Markdown files, on paper: what the files say, and what is to be written into them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::document::{
    Course, Decimal, FORMAT, Keys, Lesson, LessonSkill, Module, Skill, manual, slug_of, teaches,
    text, title_of,
};
use super::faults::{Fault, Faults};
use super::lesson_file;
use super::yaml::{self, Fields, Front, Kind, Node, scalar};

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Below the folder, with `/`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// A course, and which file each of its parts is from: `modules[0].lessons[1]` and the like, and the course itself as "".
#[derive(Debug)]
pub struct Read {
    /// The course.
    pub course: Course,
    /// The files.
    pub files: BTreeMap<String, String>,
}

const COURSE_FILE: &str = "course.md";
const MODULE_FILE: &str = "module.md";

/// Puts the files of a folder called `name` together. Without a `course.md` they are a plain curriculum: keys are then made
/// of file names, and of the folder's where that is not enough.
///
/// # Errors
/// All faults of all files.
pub fn read(name: &str, files: &[File]) -> Result<Read, Vec<Fault>> {
    let mut found = Vec::new();
    let mut folders: BTreeMap<Natural, Vec<&File>> = BTreeMap::new();
    let mut course_file = None;
    for file in files {
        if file.path == COURSE_FILE {
            course_file = Some(file);
        } else {
            let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            folders
                .entry(Natural(folder.to_owned()))
                .or_default()
                .push(file);
        }
    }
    let is_plain = course_file.is_none();
    let mut places = BTreeMap::from([(
        String::new(),
        course_file.map_or_else(|| ".".to_owned(), |file| file.path.clone()),
    )]);
    let mut course = read_course(name, course_file, &mut found);
    let (mut module_keys, mut lesson_keys) = (Keys::default(), Keys::default());
    for (folder, mut files) in folders {
        files.sort_by(|a, b| natural_order(&a.path, &b.path));
        let (mut module, rest) = read_module(&course, &folder.0, &files, &mut found);
        if is_plain {
            module.key = module_keys.take(&module.key);
        }
        let path = format!("modules[{}]", course.modules.len());
        places.insert(
            path.clone(),
            if folder.0.is_empty() {
                ".".to_owned()
            } else {
                folder.0.clone()
            },
        );
        for file in rest {
            let mut lesson = read_lesson(file, &mut found);
            if is_plain {
                let key = if lesson_keys.has(&lesson.key) {
                    slug_of(&format!("{}-{}", module.key, lesson.key), 90)
                } else {
                    lesson.key
                };
                lesson.key = lesson_keys.take(&key);
            }
            places.insert(
                format!("{path}.lessons[{}]", module.lessons.len()),
                file.path.clone(),
            );
            module.lessons.push(lesson);
        }
        course.modules.push(module);
    }
    course.put_in_order();
    if found.is_empty() {
        found.extend(
            course
                .faults()
                .into_iter()
                .map(|(path, code, message)| fault_of(&places, &path, code, message)),
        );
    }
    if !found.is_empty() {
        found.sort();
        return Err(found);
    }
    Ok(Read {
        course,
        files: places,
    })
}

/// Says of which file a fault of the document is.
pub(super) fn fault_of(
    places: &BTreeMap<String, String>,
    path: &str,
    code: &'static str,
    message: String,
) -> Fault {
    let mut part = path;
    let file = loop {
        if let Some(file) = places.get(part) {
            break file.clone();
        }
        part = part.rsplit_once('.').map_or("", |(part, _)| part);
    };
    let field = path
        .get(part.len()..)
        .unwrap_or_default()
        .trim_start_matches('.');
    Fault {
        file,
        line: 0,
        code,
        message: if field.is_empty() {
            message
        } else {
            format!("{field}: {message}")
        },
    }
}

fn read_course(name: &str, file: Option<&File>, found: &mut Vec<Fault>) -> Course {
    let mut course = Course::new(slug_of(name, 90), title_of(name));
    if course.slug.is_empty() {
        "course".clone_into(&mut course.slug);
    }
    let Some(file) = file else {
        return course;
    };
    let mut faults = Faults::new(&file.path, found);
    let split = yaml::split(&file.text, &mut faults);
    let front = split
        .front
        .and_then(|front| yaml::parse(front, &mut faults));
    let mut fields = Fields::new(front, &mut faults);
    course.format = fields.text("format").unwrap_or_else(|| FORMAT.to_owned());
    if let Some(slug) = fields.text("slug") {
        course.slug = slug;
    }
    let title = fields.text("title");
    let described = fields.text("description");
    if let Some(language) = fields.text("language") {
        course.language = language;
    }
    if let Some(difficulty) = fields.text("difficulty") {
        course.difficulty = difficulty;
    }
    course.visibility = fields.text("visibility");
    course.estimated_minutes = fields.integer("estimated_minutes");
    course.required_score = fields.decimal("required_score").unwrap_or_default();
    course.is_sequential = fields.flag("is_sequential").unwrap_or(false);
    course.allow_retake = fields.flag("allow_retake").unwrap_or(true);
    course.max_attempts = fields.integer("max_attempts");
    course.thumbnail_url = fields.text("thumbnail_url");
    course.meta_description = fields.text("meta_description");
    course.meta_keywords = fields.text("meta_keywords");
    course.version_label = fields.text("version_label");
    course.metadata = fields.object("metadata").unwrap_or_default();
    course.training_record = fields.object("training_record").unwrap_or_default();
    course.tags = fields.texts("tags");
    for node in fields.list("skills").unwrap_or_default() {
        course.skills.extend(read_skill(node, &mut fields));
    }
    fields.finish();
    let (heading, body) = describe(title.is_none(), split.body);
    if let Some(title) = title.or(heading) {
        course.title = title;
    }
    course.description = one_description(described, body, &mut faults);
    course
}

fn read_skill(node: Node, fields: &mut Fields<'_, '_>) -> Option<Skill> {
    let line = node.line;
    if !matches!(node.kind, Kind::Map(_)) {
        fields.fault(line, "wrong_kind", "a skill has key and name");
        return None;
    }
    let mut inside = fields.inside(node);
    let key = inside.text("key");
    let name = inside.text("name");
    let description = inside.text("description").unwrap_or_default();
    inside.finish();
    let Some(key) = key else {
        fields.fault(line, "missing_field", "a skill has a key");
        return None;
    };
    Some(Skill {
        name: name.unwrap_or_else(|| title_of(&key)),
        key,
        description,
    })
}

fn read_module<'a>(
    course: &Course,
    folder: &str,
    files: &[&'a File],
    found: &mut Vec<Fault>,
) -> (Module, Vec<&'a File>) {
    let names: Vec<&str> = folder
        .split('/')
        .filter(|name| !name.is_empty())
        .map(without_number)
        .collect();
    let mut module = if names.is_empty() {
        Module {
            key: course.slug.clone(),
            title: course.title.clone(),
            description: String::new(),
            lessons: Vec::new(),
        }
    } else {
        let key = slug_of(&names.join("-"), 90);
        let titles: Vec<String> = names.iter().map(|name| title_of(name)).collect();
        Module {
            key: if key.is_empty() {
                "module".to_owned()
            } else {
                key
            },
            title: titles.join(" / ").chars().take(300).collect(),
            description: String::new(),
            lessons: Vec::new(),
        }
    };
    // A key that is written as one is taken as it is.
    if let [name] = names[..]
        && super::document::is_slug(name, 100)
    {
        name.clone_into(&mut module.key);
    }
    let mut rest = Vec::new();
    for file in files {
        if file.path.rsplit('/').next() != Some(MODULE_FILE) {
            rest.push(*file);
            continue;
        }
        let mut faults = Faults::new(&file.path, found);
        let split = yaml::split(&file.text, &mut faults);
        let front = split
            .front
            .and_then(|front| yaml::parse(front, &mut faults));
        let mut fields = Fields::new(front, &mut faults);
        let title = fields.text("title");
        let described = fields.text("description");
        fields.finish();
        let (heading, body) = describe(title.is_none(), split.body);
        if let Some(title) = title.or(heading) {
            module.title = title;
        }
        module.description = one_description(described, body, &mut faults);
    }
    (module, rest)
}

/// Where there is no title, the heading at the beginning is it.
fn describe(takes_heading: bool, body: &str) -> (Option<String>, &str) {
    if takes_heading {
        heading(body).map_or((None, body), |(title, rest)| (Some(title), rest))
    } else {
        (None, body)
    }
}

fn one_description(field: Option<String>, body: &str, faults: &mut Faults<'_>) -> String {
    let body = body.trim_matches('\n');
    match field {
        Some(_) if !body.trim().is_empty() => {
            faults.add(
                0,
                "described_twice",
                "the description is in the front matter and below it",
            );
            String::new()
        }
        Some(text) => text,
        None if body.trim().is_empty() => String::new(),
        None => body.to_owned(),
    }
}

fn read_lesson(file: &File, found: &mut Vec<Fault>) -> Lesson {
    let mut faults = Faults::new(&file.path, found);
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let name = without_number(name.strip_suffix(".md").unwrap_or(name));
    let mut key = if super::document::is_slug(name, 100) {
        name.to_owned()
    } else {
        slug_of(name, 90)
    };
    if key.is_empty() {
        "lesson".clone_into(&mut key);
    }
    let split = yaml::split(&file.text, &mut faults);
    let front = split
        .front
        .and_then(|front| yaml::parse(front, &mut faults));
    let mut fields = Fields::new(front, &mut faults);
    let title = fields.text("title");
    let mut lesson = Lesson {
        key,
        title: String::new(),
        description: fields.text("description").unwrap_or_default(),
        kind: fields.text("type").unwrap_or_else(text),
        duration: fields.integer("duration"),
        requires_completion: fields.flag("requires_completion").unwrap_or(true),
        is_published: fields.flag("is_published").unwrap_or(true),
        is_preview: fields.flag("is_preview").unwrap_or(false),
        objectives: fields.texts("objectives").unwrap_or_default(),
        skills: Vec::new(),
        prerequisites: fields.texts("prerequisites").unwrap_or_default(),
        completion_rule: fields.text("completion_rule").unwrap_or_else(manual),
        required_watched_percentage: fields
            .decimal("required_watched_percentage")
            .unwrap_or_else(Decimal::ninety),
        release_after_days: fields.integer("release_after_days"),
        release_on: fields.text("release_on"),
        blocks: Vec::new(),
    };
    for node in fields.list("skills").unwrap_or_default() {
        lesson.skills.extend(read_lesson_skill(node, &mut fields));
    }
    fields.finish();
    let (heading, body) = describe(title.is_none(), split.body);
    lesson.title = title.or(heading).unwrap_or_else(|| {
        Some(title_of(name))
            .filter(|title| !title.is_empty())
            .unwrap_or_else(|| lesson.key.clone())
    });
    let skipped = split.body[..split.body.len() - body.len()]
        .matches('\n')
        .count();
    lesson.blocks = lesson_file::read(body, split.body_line + skipped, &mut faults);
    lesson
}

fn read_lesson_skill(node: Node, fields: &mut Fields<'_, '_>) -> Option<LessonSkill> {
    let line = node.line;
    match node.kind {
        Kind::Scalar { text: key, .. } => Some(LessonSkill {
            key,
            part: teaches(),
            mastery_threshold: None,
        }),
        Kind::Map(_) => {
            let mut inside = fields.inside(node);
            let key = inside.text("key");
            let part = inside.text("part").unwrap_or_else(teaches);
            let mastery_threshold = inside.decimal("mastery_threshold");
            inside.finish();
            if key.is_none() {
                fields.fault(line, "missing_field", "a skill has a key");
            }
            Some(LessonSkill {
                key: key?,
                part,
                mastery_threshold,
            })
        }
        Kind::List(_) => {
            fields.fault(line, "wrong_kind", "a skill is a key, or has key and part");
            None
        }
    }
}

/// The heading that a text begins with, and what follows it.
fn heading(body: &str) -> Option<(String, &str)> {
    let rest = body.trim_start_matches('\n');
    let (line, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    let marks = line.bytes().take_while(|byte| *byte == b'#').count();
    let title = line
        .get(marks..)?
        .strip_prefix(' ')?
        .trim()
        .trim_end_matches('#')
        .trim();
    ((1..=6).contains(&marks) && !title.is_empty()).then(|| (title.to_owned(), rest))
}

/// `01-welding` and `1. Welding` without what puts them in order.
fn without_number(name: &str) -> &str {
    let rest = name.trim_start_matches(|c: char| c.is_ascii_digit());
    let stripped = rest.trim_start_matches(['-', '_', '.', ' ']);
    if rest.len() == name.len() || rest.len() == stripped.len() || stripped.is_empty() {
        name
    } else if rest.starts_with('-') {
        // Only the first hyphen: what follows is a key, to the letter.
        rest.get(1..)
            .filter(|rest| !rest.is_empty())
            .unwrap_or(name)
    } else {
        stripped
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Natural(String);

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        natural_order(&self.0, &other.0)
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Numbers by size, the rest by letters, folder by folder: `2-a` before `10-a`.
fn natural_order(a: &str, b: &str) -> Ordering {
    let folders = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (left, right) = (folders(a), folders(b));
    for (left, right) in left.iter().zip(&right) {
        let order = natural_parts(left).cmp(&natural_parts(right));
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// Each a run of digits, by its length without leading zeros and itself, or one other character.
fn natural_parts(name: &str) -> Vec<(u32, usize, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 {
            let number = rest[..digits].trim_start_matches('0');
            parts.push((0, number.len(), number.to_owned()));
            rest = &rest[digits..];
        } else {
            parts.push((1 + u32::from(first), 0, String::new()));
            rest = &rest[first.len_utf8()..];
        }
    }
    parts
}

// Writing =============================================================================================================

/// The files of a course, in order of their names.
///
/// # Errors
/// Never for a course that was read or checked.
pub fn write(course: &Course) -> serde_json::Result<Vec<File>> {
    let mut files = vec![File {
        path: COURSE_FILE.to_owned(),
        text: write_course(course),
    }];
    for (place, module) in course.modules.iter().enumerate() {
        let folder = numbered(place, course.modules.len(), &module.key);
        let mut front = Front::new();
        front.text("title", &module.title);
        files.push(File {
            path: format!("{folder}/{MODULE_FILE}"),
            text: with_description(front, &module.description),
        });
        for (place, lesson) in module.lessons.iter().enumerate() {
            let name = numbered(place, module.lessons.len(), &lesson.key);
            files.push(File {
                path: format!("{folder}/{name}.md"),
                text: write_lesson(lesson)?,
            });
        }
    }
    Ok(files)
}

fn numbered(place: usize, count: usize, key: &str) -> String {
    let width = count.to_string().len().max(2);
    format!("{:0width$}-{key}", place + 1)
}

/// Below the front matter where it can stand there as it is.
fn with_description(mut front: Front, description: &str) -> String {
    if lesson_file::is_verbatim(description) {
        return front.finish(description);
    }
    if !description.is_empty() {
        front.text("description", description);
    }
    front.finish("")
}

fn write_course(course: &Course) -> String {
    let mut front = Front::new();
    front.text("format", &course.format);
    front.text("slug", &course.slug);
    front.text("title", &course.title);
    front.text("language", &course.language);
    front.text("difficulty", &course.difficulty);
    front.optional("visibility", course.visibility.as_deref());
    if let Some(minutes) = course.estimated_minutes {
        front.plain("estimated_minutes", minutes);
    }
    if !course.required_score.is_zero() {
        front.plain("required_score", course.required_score);
    }
    if course.is_sequential {
        front.plain("is_sequential", true);
    }
    if !course.allow_retake {
        front.plain("allow_retake", false);
    }
    if let Some(attempts) = course.max_attempts {
        front.plain("max_attempts", attempts);
    }
    front.optional("thumbnail_url", course.thumbnail_url.as_deref());
    front.optional("meta_description", course.meta_description.as_deref());
    front.optional("meta_keywords", course.meta_keywords.as_deref());
    front.optional("version_label", course.version_label.as_deref());
    front.object("metadata", &course.metadata);
    front.object("training_record", &course.training_record);
    if let Some(tags) = &course.tags {
        front.texts("tags", tags);
    }
    if !course.skills.is_empty() {
        front.line(format_args!("skills:"));
    }
    for skill in &course.skills {
        front.line(format_args!("  - key: {}", scalar(&skill.key)));
        front.line(format_args!("    name: {}", scalar(&skill.name)));
        if !skill.description.is_empty() {
            front.line(format_args!(
                "    description: {}",
                scalar(&skill.description)
            ));
        }
    }
    with_description(front, &course.description)
}

fn write_lesson(lesson: &Lesson) -> serde_json::Result<String> {
    let mut front = Front::new();
    front.text("title", &lesson.title);
    if lesson.kind != "text" {
        front.text("type", &lesson.kind);
    }
    if let Some(minutes) = lesson.duration {
        front.plain("duration", minutes);
    }
    if !lesson.description.is_empty() {
        front.text("description", &lesson.description);
    }
    if !lesson.requires_completion {
        front.plain("requires_completion", false);
    }
    if !lesson.is_published {
        front.plain("is_published", false);
    }
    if lesson.is_preview {
        front.plain("is_preview", true);
    }
    if !lesson.objectives.is_empty() {
        front.texts("objectives", &lesson.objectives);
    }
    if !lesson.skills.is_empty() {
        front.line(format_args!("skills:"));
    }
    for skill in &lesson.skills {
        let is_short = skill.part == "teaches" && skill.mastery_threshold.is_none();
        if is_short {
            front.line(format_args!("  - {}", scalar(&skill.key)));
            continue;
        }
        front.line(format_args!("  - key: {}", scalar(&skill.key)));
        if skill.part != "teaches" {
            front.line(format_args!("    part: {}", scalar(&skill.part)));
        }
        if let Some(threshold) = skill.mastery_threshold {
            front.line(format_args!("    mastery_threshold: {threshold}"));
        }
    }
    if !lesson.prerequisites.is_empty() {
        front.texts("prerequisites", &lesson.prerequisites);
    }
    if lesson.completion_rule != "manual" {
        front.text("completion_rule", &lesson.completion_rule);
    }
    if !lesson.required_watched_percentage.is_ninety() {
        front.plain(
            "required_watched_percentage",
            lesson.required_watched_percentage,
        );
    }
    if let Some(days) = lesson.release_after_days {
        front.plain("release_after_days", days);
    }
    front.optional("release_on", lesson.release_on.as_deref());
    Ok(front.finish(&lesson_file::write(&lesson.blocks)?))
}

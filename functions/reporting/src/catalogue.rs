//! The reports, as data. A new one is an entry of [`REPORTS`] that names its function in the database, which parameters it
//! takes, and what its columns are; `tests/catalogue.rs` compares every entry with the function's signature.

use crate::words::{self, Words};

/// A report.
#[derive(Debug)]
pub struct Report {
    /// Its name in addresses.
    pub name: &'static str,
    /// The schema of its function.
    pub schema: &'static str,
    /// Its function.
    pub function: &'static str,
    /// What the function takes, in its order.
    pub parameters: &'static [Parameter],
    /// How many rows are asked for at a time; none where the function has no pages.
    pub page: Option<u32>,
    /// What the function returns, in its order, without `cursor`.
    pub columns: &'static [Column],
    /// What people call it.
    pub title: Words,
    /// What it counts.
    pub counts: Words,
    /// How it is laid out for people.
    pub layout: Layout,
    /// What is drawn.
    pub chart: Chart,
}

impl Report {
    /// The report of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        REPORTS.iter().find(|report| report.name == name)
    }

    /// Where a column stands.
    pub fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|one| one.name == column)
    }
}

/// How a report is laid out for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Its one row as figures.
    Figures,
    /// A table.
    Table,
    /// People down, courses across, the state of each in between.
    Matrix,
    /// Each row as a record of its own, with all its fields.
    Records,
}

/// What is drawn of a report. Columns are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chart {
    /// Nothing.
    None,
    /// The parts that make up the whole, of the one row.
    Parts(&'static [&'static str]),
    /// One bar for each column of the one row.
    Steps(&'static [&'static str]),
    /// One bar for each of the first rows: what it is called, and how long it is.
    Bars(&'static str, &'static str),
    /// One column for each day, week or month.
    Time(&'static str, &'static str),
    /// One line for each group: the group, the place along it, and the height.
    Curves(&'static str, &'static str, &'static str),
    /// How many rows there are of each state.
    States(&'static str),
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in the database, in JSON and in the catalogue.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its heading for people.
    pub heading: Words,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An id, of use to programs only: not shown to people.
    Id,
    /// A course's id, shown to people as its title.
    Course,
    /// Text.
    Text,
    /// Text from a list of words that are told in the reader's language.
    Word,
    /// A whole number.
    Count,
    /// A number with up to two decimals.
    Number,
    /// A percentage, 0 to 100.
    Percent,
    /// A day.
    Day,
    /// A point in time.
    Moment,
    /// Seconds of time spent.
    Seconds,
    /// Yes or no.
    Flag,
    /// A list of words.
    List,
    /// Anything, for programs.
    Data,
}

impl Kind {
    /// Its name for clients.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id | Self::Course => "id",
            Self::Text => "text",
            Self::Word => "word",
            Self::Count => "count",
            Self::Number => "number",
            Self::Percent => "percent",
            Self::Day => "date",
            Self::Moment => "time",
            Self::Seconds => "seconds",
            Self::Flag => "flag",
            Self::List => "list",
            Self::Data => "data",
        }
    }

    /// The types that such a column may have in the database.
    pub fn types(self) -> &'static [&'static str] {
        match self {
            Self::Id | Self::Course => &["uuid"],
            Self::Text | Self::Word => &["text"],
            Self::Count => &["bigint", "integer"],
            Self::Number | Self::Percent => &["numeric"],
            Self::Day => &["date"],
            Self::Moment => &["timestamp with time zone"],
            Self::Seconds => &["bigint"],
            Self::Flag => &["boolean"],
            Self::List => &["text[]"],
            Self::Data => &["jsonb"],
        }
    }

    /// Whether people are shown it.
    pub fn is_shown(self) -> bool {
        !matches!(self, Self::Id | Self::Data)
    }

    /// Whether it is set to the right, as numbers are.
    pub fn is_number(self) -> bool {
        matches!(
            self,
            Self::Count | Self::Number | Self::Percent | Self::Seconds
        )
    }
}

/// What can be asked of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// The organisation.
    Tenant,
    /// A person; else the caller.
    Person,
    /// A unit with all below it.
    Unit,
    /// A course.
    Course,
    /// The course, without which there is no report.
    TheCourse,
    /// A cohort.
    Cohort,
    /// The first day.
    From,
    /// The last day.
    Until,
    /// Questions with fewer answers are left out.
    MinAttempts,
    /// States of training.
    States,
    /// A day of the past.
    At,
    /// Day, week or month.
    Step,
}

impl Parameter {
    /// Its name in addresses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant_id",
            Self::Person => "user_id",
            Self::Unit => "unit_id",
            Self::Course | Self::TheCourse => "course_id",
            Self::Cohort => "cohort_id",
            Self::From => "from",
            Self::Until => "until",
            Self::MinAttempts => "min_attempts",
            Self::States => "states",
            Self::At => "at",
            Self::Step => "step",
        }
    }

    /// Its name in the database.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Tenant => "p_tenant_id",
            Self::Person => "p_user_id",
            Self::Unit => "p_unit_id",
            Self::Course | Self::TheCourse => "p_course_id",
            Self::Cohort => "p_cohort_id",
            Self::From => "p_from",
            Self::Until => "p_until",
            Self::MinAttempts => "p_min_attempts",
            Self::States => "p_states",
            Self::At => "p_at",
            Self::Step => "p_step",
        }
    }

    /// Its type in the database.
    pub fn sql_type(self) -> &'static str {
        match self {
            Self::From | Self::Until | Self::At => "date",
            Self::MinAttempts => "integer",
            Self::States => "text[]",
            Self::Step => "text",
            _ => "uuid",
        }
    }

    /// Its type for clients.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::From | Self::Until | Self::At => "date",
            Self::MinAttempts => "integer",
            Self::States => "states",
            Self::Step => "step",
            _ => "uuid",
        }
    }

    /// Whether there is no report without it.
    pub fn is_required(self) -> bool {
        matches!(self, Self::Tenant | Self::TheCourse)
    }

    /// What it chooses.
    pub fn meaning(self) -> Words {
        match self {
            Self::Tenant => words::ORGANIZATION,
            Self::Person => words::PERSON,
            Self::Unit => words::UNIT_WITH_BELOW,
            Self::Course | Self::TheCourse => words::COURSE,
            Self::Cohort => words::COHORT,
            Self::From => words::FROM,
            Self::Until => words::UNTIL,
            Self::MinAttempts => words::MIN_ATTEMPTS,
            Self::States => words::STATES,
            Self::At => words::AT,
            Self::Step => words::STEP,
        }
    }
}

const fn column(name: &'static str, kind: Kind, heading: Words) -> Column {
    Column {
        name,
        kind,
        heading,
    }
}

use Kind::{Count, Course, Data, Day, Id, List, Moment, Number, Percent, Seconds, Text, Word};
use Parameter as P;

const FILTERS: &[Parameter] = &[P::Tenant, P::Unit, P::Course, P::Cohort, P::From, P::Until];
const QUESTIONS: &[Parameter] = &[
    P::Tenant,
    P::Unit,
    P::Course,
    P::Cohort,
    P::From,
    P::Until,
    P::MinAttempts,
];
const STEPS: &[Parameter] = &[
    P::Tenant,
    P::Unit,
    P::Course,
    P::Cohort,
    P::From,
    P::Until,
    P::Step,
];

/// All reports.
pub static REPORTS: &[Report] = &[
    Report {
        name: "completion-rate",
        schema: "analytics",
        function: "get_completion_rate",
        parameters: FILTERS,
        page: None,
        columns: &[
            column("total_enrolled", Count, words::ENROLLED),
            column("completed", Count, words::COMPLETED),
            column("in_progress", Count, words::IN_PROGRESS),
            column("not_started", Count, words::NOT_STARTED),
            column("completion_rate", Percent, words::COMPLETION_RATE),
        ],
        title: ["Completion rate", "Abschlussquote", "Tasa de finalización"],
        counts: [
            "Of the cycles enrolled in the period and not dropped: how many are completed, begun and not begun. The rate is the completed share of all of them.",
            "Von den im Zeitraum eingeschriebenen und nicht abgebrochenen Durchläufen: wie viele abgeschlossen, begonnen und nicht begonnen sind. Die Quote ist der abgeschlossene Anteil.",
            "De los ciclos inscritos en el período y no abandonados: cuántos están completados, empezados y sin empezar. La tasa es la parte completada del total.",
        ],
        layout: Layout::Figures,
        chart: Chart::Parts(&["completed", "in_progress", "not_started"]),
    },
    Report {
        name: "progress-summary",
        schema: "analytics",
        function: "get_progress_summary",
        parameters: FILTERS,
        page: Some(1000),
        columns: &[
            column("course_id", Id, words::COURSE_ID),
            column("title", Text, words::COURSE),
            column("slug", Text, words::SHORT_NAME),
            column("total_enrolled", Count, words::ENROLLED),
            column("average_progress", Percent, words::AVERAGE_PROGRESS),
            column("completed", Count, words::COMPLETED),
            column("completion_rate", Percent, words::COMPLETION_RATE),
        ],
        title: [
            "Progress by course",
            "Fortschritt je Kurs",
            "Progreso por curso",
        ],
        counts: [
            "For each course, the cycles enrolled in the period and not dropped, the mean of their progress, and the completed share.",
            "Je Kurs die im Zeitraum eingeschriebenen und nicht abgebrochenen Durchläufe, ihr mittlerer Fortschritt und der abgeschlossene Anteil.",
            "Por curso, los ciclos inscritos en el período y no abandonados, la media de su progreso y la parte completada.",
        ],
        layout: Layout::Table,
        chart: Chart::Bars("title", "completion_rate"),
    },
    Report {
        name: "enrollment-funnel",
        schema: "analytics",
        function: "get_enrollment_funnel",
        parameters: FILTERS,
        page: None,
        columns: &[
            column("enrolled", Count, words::ENROLLED),
            column("started", Count, words::STARTED),
            column("half", Count, words::HALF),
            column("completed", Count, words::COMPLETED),
            column("started_rate", Percent, words::STARTED_RATE),
            column("half_rate", Percent, words::HALF_RATE),
            column("completed_rate", Percent, words::COMPLETED_RATE),
        ],
        title: [
            "Enrolment funnel",
            "Einschreibungstrichter",
            "Embudo de inscripción",
        ],
        counts: [
            "Of all cycles enrolled in the period, dropped ones too: how many were begun, reached half of their items, and were completed. Rates are of enrolled.",
            "Von allen im Zeitraum eingeschriebenen Durchläufen, auch abgebrochenen: wie viele begonnen wurden, die Hälfte erreichten und abgeschlossen wurden. Anteile beziehen sich auf die Eingeschriebenen.",
            "De todos los ciclos inscritos en el período, también abandonados: cuántos se empezaron, llegaron a la mitad y se completaron. Las tasas son sobre los inscritos.",
        ],
        layout: Layout::Figures,
        chart: Chart::Steps(&["enrolled", "started", "half", "completed"]),
    },
    Report {
        name: "organization-overview",
        schema: "analytics",
        function: "get_organization_overview",
        parameters: &[P::Tenant, P::Unit],
        page: Some(1000),
        columns: &[
            column("unit_id", Id, words::UNIT_ID),
            column("name", Text, words::UNIT),
            column("total_users", Count, words::PEOPLE),
            column("total_enrollments", Count, words::ENROLLMENTS),
            column("completed_enrollments", Count, words::COMPLETED),
            column("average_progress", Percent, words::AVERAGE_PROGRESS),
        ],
        title: [
            "Overview of the organisation",
            "Überblick über die Organisation",
            "Resumen de la organización",
        ],
        counts: [
            "People by their home unit of today, and cycles that are not dropped by the unit they were taken in. The last row, without a name, is what belongs to no unit.",
            "Personen nach heutiger Stammeinheit und nicht abgebrochene Durchläufe nach der Einheit, in der sie belegt wurden. Die letzte Zeile ohne Namen ist, was zu keiner Einheit gehört.",
            "Personas por su unidad actual y ciclos no abandonados por la unidad en la que se cursaron. La última fila, sin nombre, es lo que no pertenece a ninguna unidad.",
        ],
        layout: Layout::Table,
        chart: Chart::Bars("name", "average_progress"),
    },
    Report {
        name: "most-missed-questions",
        schema: "analytics",
        function: "get_most_missed_questions",
        parameters: QUESTIONS,
        page: Some(1000),
        columns: &[
            column("course_id", Course, words::COURSE),
            column("question_key", Text, words::QUESTION),
            column("section_key", Text, words::SECTION),
            column("total_attempts", Count, words::ANSWERS),
            column("incorrect_attempts", Count, words::WRONG),
            column("miss_rate", Percent, words::MISS_RATE),
        ],
        title: [
            "Most missed questions",
            "Am häufigsten falsch beantwortete Fragen",
            "Preguntas más falladas",
        ],
        counts: [
            "Questions with enough judged answers received in the period, those first of which most answers are wrong.",
            "Fragen mit genügend bewerteten Antworten im Zeitraum; zuerst jene mit dem größten Anteil falscher Antworten.",
            "Preguntas con suficientes respuestas evaluadas recibidas en el período; primero las más falladas.",
        ],
        layout: Layout::Table,
        chart: Chart::Bars("question_key", "miss_rate"),
    },
    Report {
        name: "question-difficulty",
        schema: "analytics",
        function: "get_question_difficulty",
        parameters: QUESTIONS,
        page: Some(1000),
        columns: &[
            column("course_id", Course, words::COURSE),
            column("question_key", Text, words::QUESTION),
            column("section_key", Text, words::SECTION),
            column("total_attempts", Count, words::ANSWERS),
            column("correct_attempts", Count, words::RIGHT),
            column("incorrect_attempts", Count, words::WRONG),
            column("success_rate", Percent, words::SUCCESS_RATE),
            column("discrimination", Number, words::DISCRIMINATION),
        ],
        title: [
            "Difficulty of questions",
            "Schwierigkeit der Fragen",
            "Dificultad de las preguntas",
        ],
        counts: [
            "The share of judged answers received in the period that are right. Discrimination, from −1 to 1: how much more often those who do well answer rightly.",
            "Der richtige Anteil der im Zeitraum bewerteten Antworten. Trennschärfe von −1 bis 1: wie viel öfter Starke richtig antworten.",
            "La parte correcta de las respuestas evaluadas recibidas en el período. Discriminación, de −1 a 1: cuánto más a menudo aciertan quienes van bien.",
        ],
        layout: Layout::Table,
        chart: Chart::Bars("question_key", "success_rate"),
    },
    Report {
        name: "learner-summary",
        schema: "analytics",
        function: "get_learner_summary",
        parameters: &[P::Tenant, P::Person],
        page: Some(1000),
        columns: &[
            column("course_id", Id, words::COURSE_ID),
            column("title", Text, words::COURSE),
            column("status", Word, words::STATUS),
            column("cycle", Count, words::CYCLE),
            column("enrolled_at", Moment, words::ENROLLED_AT),
            column("completed_at", Moment, words::COMPLETED_AT),
            column("due_at", Moment, words::DUE_AT),
            column("progress_percent", Percent, words::PROGRESS),
            column("current_section", Text, words::CURRENT_SECTION),
            column("last_active_at", Moment, words::LAST_ACTIVE),
            column("seconds_spent", Seconds, words::TIME_SPENT),
            column("final_grade", Number, words::GRADE),
        ],
        title: [
            "Courses of a learner",
            "Kurse einer Person",
            "Cursos de una persona",
        ],
        counts: [
            "All cycles of one person that the reader may see, latest first, dropped ones too.",
            "Alle einsehbaren Durchläufe einer Person, neueste zuerst, auch abgebrochene.",
            "Todos los ciclos visibles de una persona, los más recientes primero, también los abandonados.",
        ],
        layout: Layout::Table,
        chart: Chart::Bars("title", "progress_percent"),
    },
    Report {
        name: "learner-timeline",
        schema: "analytics",
        function: "get_learner_timeline",
        parameters: &[P::Tenant, P::Person, P::Course, P::From, P::Until],
        // What clients write with their events is of some size.
        page: Some(200),
        columns: &[
            column("occurred_at", Moment, words::WHEN),
            column("kind", Word, words::WHAT),
            column("course_id", Id, words::COURSE_ID),
            column("course_title", Text, words::COURSE),
            column("subject", Text, words::SUBJECT),
            column("detail", Data, words::DETAIL),
        ],
        title: [
            "Timeline of a learner",
            "Verlauf einer Person",
            "Cronología de una persona",
        ],
        counts: [
            "What one person did and reached, latest first: enrolments, lessons, answers and activity.",
            "Was eine Person getan und erreicht hat, neueste zuerst: Einschreibungen, Lektionen, Antworten und Aktivität.",
            "Lo que una persona hizo y logró, lo más reciente primero: inscripciones, lecciones, respuestas y actividad.",
        ],
        layout: Layout::Table,
        chart: Chart::None,
    },
    Report {
        name: "due-training",
        schema: "analytics",
        function: "get_due_training",
        parameters: &[P::Tenant, P::Unit, P::Course, P::Cohort, P::States],
        page: Some(1000),
        columns: &[
            column("user_id", Id, words::PERSON_ID),
            column("display_name", Text, words::PERSON),
            column("unit_id", Id, words::UNIT_ID),
            column("unit_name", Text, words::UNIT),
            column("course_id", Id, words::COURSE_ID),
            column("title", Text, words::COURSE),
            column("state", Word, words::STATE),
            column("due_at", Moment, words::DUE_AT),
            column("completed_at", Moment, words::COMPLETED_AT),
            column("expires_at", Moment, words::EXPIRES_AT),
        ],
        title: [
            "Training that is due",
            "Fällige Schulungen",
            "Formación pendiente",
        ],
        counts: [
            "Training that rules ask for and that is due, overdue, about to expire or expired, by the home unit of today.",
            "Vorgeschriebene Schulungen, die fällig, überfällig, bald ablaufend oder abgelaufen sind, nach heutiger Stammeinheit.",
            "Formación obligatoria pendiente, vencida, por caducar o caducada, por la unidad actual.",
        ],
        layout: Layout::Table,
        chart: Chart::States("state"),
    },
    Report {
        name: "training-matrix",
        schema: "analytics",
        function: "get_training_matrix",
        parameters: &[P::Tenant, P::Unit, P::Course, P::Cohort, P::At],
        page: Some(1000),
        columns: &[
            column("user_id", Id, words::PERSON_ID),
            column("display_name", Text, words::PERSON),
            column("job_title", Text, words::JOB_TITLE),
            column("unit_name", Text, words::UNIT),
            column("course_id", Id, words::COURSE_ID),
            column("title", Text, words::COURSE),
            column("state", Word, words::STATE),
            column("due_at", Moment, words::DUE_AT),
            column("completed_at", Moment, words::COMPLETED_AT),
            column("expires_at", Moment, words::EXPIRES_AT),
        ],
        title: ["Training matrix", "Schulungsmatrix", "Matriz de formación"],
        counts: [
            "Every person in scope with every course that rules ask of them, and where it stands: now, or at the end of the day asked for.",
            "Jede Person im Bereich mit jedem vorgeschriebenen Kurs und seinem Stand: jetzt oder am Ende des gewählten Tages.",
            "Cada persona del ámbito con cada curso obligatorio y su estado: ahora o al final del día elegido.",
        ],
        layout: Layout::Matrix,
        chart: Chart::States("state"),
    },
    Report {
        name: "training-records",
        schema: "lms",
        function: "get_training_records",
        parameters: &[P::Tenant, P::Person, P::Unit, P::Course, P::From, P::Until],
        // Materials and statements are texts of some length.
        page: Some(200),
        columns: &[
            column("employee_name", Text, words::PERSON),
            column("course_title", Text, words::COURSE),
            column("employer_name", Text, words::EMPLOYER),
            column("completed_on", Day, words::COMPLETED_AT),
            column("materials", Text, words::MATERIALS),
            column("trainer_name", Text, words::TRAINER_NAME),
            column("trainer_address", Text, words::TRAINER_ADDRESS),
            column("tested_at", Moment, words::TESTED_AT),
            column("test_percentage", Percent, words::TEST_RESULT),
            column("certified_at", Moment, words::CERTIFIED_AT),
            column("certifier_name", Text, words::CERTIFIED_BY),
            column("certification_text", Text, words::CERTIFICATION),
            column("correction_reason", Text, words::CORRECTION),
            column("kept_at_least_until", Day, words::KEPT_AT_LEAST),
            column("kept_until", Day, words::KEPT_UNTIL),
            column("missing", List, words::MISSING),
        ],
        title: [
            "Training records",
            "Schulungsnachweise",
            "Registros de formación",
        ],
        counts: [
            "Records of training as 49 CFR 172.704(d) has them kept, in their current editions, latest completion first. They are kept for three years, and until 90 days after the person has left.",
            "Schulungsnachweise, wie 49 CFR 172.704(d) sie verlangt, in der geltenden Fassung, jüngster Abschluss zuerst. Sie werden drei Jahre aufbewahrt, und bis 90 Tage nach dem Ausscheiden der Person.",
            "Registros de formación como los exige 49 CFR 172.704(d), en su edición vigente, la finalización más reciente primero. Se conservan tres años, y hasta 90 días después de la salida de la persona.",
        ],
        layout: Layout::Records,
        chart: Chart::None,
    },
    Report {
        name: "engagement",
        schema: "analytics",
        function: "get_engagement",
        parameters: STEPS,
        page: None,
        columns: &[
            column("period_start", Day, words::BEGINNING),
            column("active_learners", Count, words::ACTIVE_LEARNERS),
            column("events", Count, words::EVENTS),
            column("learning_seconds", Seconds, words::LEARNING_TIME),
            column("completions", Count, words::COMPLETIONS),
        ],
        title: ["Engagement", "Beteiligung", "Participación"],
        counts: [
            "Per day, week or month: people with at least one event, each once; their events; time in learning sessions that began then; cycles completed then.",
            "Je Tag, Woche oder Monat: Personen mit mindestens einem Ereignis, jede einmal; ihre Ereignisse; Zeit in dann begonnenen Lernsitzungen; dann abgeschlossene Durchläufe.",
            "Por día, semana o mes: personas con al menos un evento, cada una una vez; sus eventos; tiempo en las sesiones iniciadas entonces; ciclos completados entonces.",
        ],
        layout: Layout::Table,
        chart: Chart::Time("period_start", "active_learners"),
    },
    Report {
        name: "lesson-drop-off",
        schema: "analytics",
        function: "get_lesson_drop_off",
        parameters: &[P::Tenant, P::Unit, P::TheCourse],
        page: None,
        columns: &[
            column("lesson_id", Id, words::LESSON_ID),
            column("position", Count, words::POSITION),
            column("title", Text, words::LESSON),
            column("reached", Count, words::REACHED),
            column("completed", Count, words::COMPLETED),
            column("dropped_off", Count, words::DROPPED_OFF),
            column("drop_off_rate", Percent, words::DROP_OFF_RATE),
        ],
        title: [
            "Drop-off by lesson",
            "Abbruch je Lektion",
            "Abandono por lección",
        ],
        counts: [
            "For each lesson that anybody has reached: cycles that began it, completed it, and did not complete it (yet).",
            "Je erreichter Lektion: Durchläufe, die sie begonnen, abgeschlossen und (noch) nicht abgeschlossen haben.",
            "Por cada lección alcanzada: ciclos que la empezaron, la completaron y no la completaron (todavía).",
        ],
        layout: Layout::Table,
        chart: Chart::Bars("title", "reached"),
    },
    Report {
        name: "cohort-retention",
        schema: "analytics",
        function: "get_cohort_retention",
        parameters: STEPS,
        page: None,
        columns: &[
            column("started", Day, words::BEGAN_IN),
            column("size", Count, words::PEOPLE),
            column("period", Count, words::PERIOD_AFTER),
            column("active", Count, words::ACTIVE_LEARNERS),
            column("retention_rate", Percent, words::RETENTION_RATE),
        ],
        title: ["Retention", "Verbleib", "Retención"],
        counts: [
            "Of those whose first enrolment fell into a day, week or month: how many had an event in that step (0) and in each of those after it.",
            "Von denen, deren erste Einschreibung in einen Tag, eine Woche oder einen Monat fiel: wie viele darin (0) und in jedem folgenden Schritt ein Ereignis hatten.",
            "De quienes se inscribieron por primera vez en un día, semana o mes: cuántos tuvieron un evento en ese paso (0) y en cada uno de los siguientes.",
        ],
        layout: Layout::Table,
        chart: Chart::Curves("started", "period", "retention_rate"),
    },
];

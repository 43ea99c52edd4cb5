-- Grading: what questions, keys and answers look like, and what an answer is worth. Pure: these functions read no table, so
-- they say the same of a draft, of a published revision, and years later of an attempt.
-- Undo: drop functions private.grade_response, response_faults, key_faults, question_faults; then the functions and types
-- below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- What is handed in may be anything
-- =====================================================================================================
-- An answer is JSON that a stranger wrote. Two things would make it dangerous: reading it as something that it is not (which
-- raises, and with it a whole attempt), and writing it out: a few bytes of JSON can hold a number of 131,072 digits, and a
-- list of those is gigabytes of text. So everything is measured before it is opened, and nothing is cast to text as a whole.

create function private.json_list(p_value jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case jsonb_typeof(p_value) when 'array' then p_value else '[]' end;
end
$$;

comment on function private.json_list is 'The value where it is a list, else an empty list: what is looped over.';

create function private.json_text(p_value jsonb, p_longest integer)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when jsonb_typeof(p_value) = 'string' and length(p_value #>> '{}') <= p_longest then p_value #>> '{}'
  end;
end
$$;

comment on function private.json_text is 'The text where the value is one, and no longer than that; else null.';

create function private.has_other_fields(p_value jsonb, p_fields text[])
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case jsonb_typeof(p_value) when 'object' then p_value - p_fields <> '{}' else false end;
end
$$;

create function private.json_integer(p_value jsonb, p_least integer, p_greatest integer)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case jsonb_typeof(p_value)
    when 'number' then case
      when p_value::numeric between p_least and p_greatest and p_value::numeric = trunc(p_value::numeric) then p_value::integer
    end
  end;
end
$$;

-- Where something of a question is named more than once, an answer would mean two things; ids are unique within a list.
create function private.ids_of(p_list jsonb)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select private.json_text(e.entry -> 'id', 100)
    from jsonb_array_elements(private.json_list(p_list)) with ordinality as e (entry, place)
    order by e.place
  );
end
$$;

create function private.entry_faults(p_list jsonb, p_least integer, p_most integer)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_faults text[] := array[]::text[];
begin
  if jsonb_typeof(p_list) is distinct from 'array' then
    return array['list_missing'];
  elsif jsonb_array_length(p_list) > p_most then
    return array['too_many_entries'];
  elsif jsonb_array_length(p_list) < p_least then
    v_faults := v_faults || 'too_few_entries'::text;
  end if;
  select v_faults || array_remove(array[
    case when bool_or(coalesce(private.json_text(e.entry -> 'id', 100), '') !~ '\S') then 'id_invalid' end,
    case when count(distinct private.json_text(e.entry -> 'id', 100)) < count(private.json_text(e.entry -> 'id', 100)) then 'id_not_unique' end,
    case when bool_or(coalesce(private.json_text(e.entry -> 'text', 10000), '') !~ '\S') then 'text_invalid' end,
    -- What an editor leaves beside an option, `correct` above all, learners would read.
    case when bool_or(private.has_other_fields(e.entry, '{id,text}')) then 'unknown_field' end
  ], null) into v_faults
  from jsonb_array_elements(p_list) as e (entry);
  return v_faults;
end
$$;

comment on function private.entry_faults is 'What is wrong with a list of {id, text}.';

-- =====================================================================================================
-- Numbers
-- =====================================================================================================

-- A fraction of two exact numbers: a third is a third. bottom is above 0.
create type private.ratio as (top numeric, bottom numeric);

-- What people write as a number: digits with a decimal point, an exponent, or a fraction of two of those. A comma is none:
-- 1,500 is two different numbers in two countries. Beyond 100 digits before or behind the point nothing is a number, so that
-- arithmetic on it stays cheap.
create function private.read_decimal(p_text text)
returns numeric
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_value numeric;
begin
  if length(p_text) > 250 or p_text !~ '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,3})?$' then
    return null;
  end if;
  v_value := trim_scale(p_text::numeric);
  return case when abs(v_value) < 1e100 and scale(v_value) <= 100 then v_value end;
end
$$;

create function private.read_ratio(p_text text)
returns private.ratio
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_parts text[];
  v_top numeric;
  v_bottom numeric := 1;
begin
  if p_text is null or length(p_text) > 500 then
    return null;
  end if;
  -- A minus is often typeset as U+2212.
  v_parts := string_to_array(replace(p_text, U&'\2212', '-'), '/');
  v_top := private.read_decimal(btrim(v_parts[1], E' \t\n\r'));
  if cardinality(v_parts) = 2 then
    v_bottom := private.read_decimal(btrim(v_parts[2], E' \t\n\r'));
  elsif cardinality(v_parts) is distinct from 1 then
    return null;
  end if;
  if v_top is null or coalesce(v_bottom, 0) = 0 then
    return null;
  end if;
  return (v_top * sign(v_bottom), abs(v_bottom))::private.ratio;
end
$$;

comment on function private.read_ratio is 'A number as people write it, exactly: 1.50, -2e3, 3/4; null where it is none.';

create function private.json_ratio(p_value jsonb)
returns private.ratio
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_value numeric;
begin
  case jsonb_typeof(p_value)
    when 'string' then
      return private.read_ratio(private.json_text(p_value, 500));
    when 'number' then
      v_value := trim_scale(p_value::numeric);
      if abs(v_value) < 1e100 and scale(v_value) <= 100 then
        return (v_value, 1)::private.ratio;
      end if;
    else
      null;
  end case;
  return null;
end
$$;

create function private.json_decimal(p_value jsonb)
returns numeric
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_ratio constant private.ratio := private.json_ratio(p_value);
begin
  return case when v_ratio.bottom = 1 then v_ratio.top end;
end
$$;

-- A division would round before it is rounded: 1/3 of 0.15 is 0.05, and not 0.04999...
create function private.round_half_up(p_top numeric, p_bottom numeric)
returns numeric
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_above constant numeric := 200 * p_top + p_bottom;
  v_below constant numeric := 2 * p_bottom;
  v_quotient numeric := div(v_above, v_below);
begin
  -- div() cuts towards 0.
  if v_quotient * v_below > v_above then
    v_quotient := v_quotient - 1;
  end if;
  return round(v_quotient / 100, 2);
end
$$;

comment on function private.round_half_up is
  'p_top / p_bottom to two digits, halves upwards, also below 0 (-0.125 is -0.12); p_bottom is above 0. Exact.';

-- =====================================================================================================
-- Words
-- =====================================================================================================

-- The same word, however it was typed: composed or decomposed, in full width, with another dash or quotation mark, with more
-- spaces. Superscripts are kept apart, or 10² would be 102; so are fractions, or 3½ would be 31/2.
create function private.normal_answer(
  p_text text, p_case_sensitive boolean, p_keep_diacritics boolean, p_keep_punctuation boolean
)
returns text
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_text text := p_text;
begin
  v_text := regexp_replace(v_text, U&'([\00B2\00B3\00B9\2070-\207F]+)', '^\1', 'g');
  v_text := regexp_replace(v_text, U&'([\00BC-\00BE\2150-\215E])', ' \1', 'g');
  v_text := normalize(v_text, nfkd);
  if not p_keep_diacritics then
    v_text := regexp_replace(v_text, U&'[\0300-\036F]', '', 'g');
  end if;
  -- Not by the database's collation: what an answer is worth must not depend on where it is hosted.
  if not p_case_sensitive then
    v_text := translate(lower(v_text collate "und-x-icu"), U&'\03C2', U&'\03C3');
  end if;
  v_text := normalize(v_text, nfc);
  v_text := translate(
    v_text,
    U&'\2010\2011\2012\2013\2014\2212\2044\2018\2019\201B\0060\00B4\201C\201D\201E\00AB\00BB\200B\2060\FEFF\00AD',
    '------/''''''''''"""""'
  );
  v_text := regexp_replace(v_text, '[ \t\n\r\f\v]+', ' ', 'g');
  -- Only around words: 3.5 is not 35, and don't is not dont.
  if not p_keep_punctuation then
    v_text := regexp_replace(v_text, U&'(^| )[.,;:!?"''\2026\00A1\00BF]+', '\1', 'g');
    v_text := regexp_replace(v_text, U&'[.,;:!?"''\2026\00A1\00BF]+( |$)', '\1', 'g');
    v_text := regexp_replace(v_text, ' +', ' ', 'g');
  end if;
  return btrim(v_text, ' ');
end
$$;

comment on function private.normal_answer is
  'A short answer as it is compared: Unicode''s compatibility form, one space between words, plain dashes and quotes; '
  'lower case, without accents and without punctuation around words, unless asked to keep them.';

-- Of two spellings of a unit, µm with the micro sign or the Greek letter, learners do not know which they typed.
create function private.normal_unit(p_unit text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return btrim(normalize(p_unit, nfkc), E' \t\n\r');
end
$$;

-- =====================================================================================================
-- Questions
-- =====================================================================================================

create function private.content_faults(p_type text, p_content jsonb)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_list text[];
  v_fields constant jsonb := jsonb '{
    "single": ["options"], "multiple": ["options"], "true_false": [], "short_answer": [], "numeric": ["units"],
    "matching": ["prompts", "choices"], "ordering": ["items"], "essay": ["min_words", "max_words"],
    "file_upload": ["max_files", "extensions", "max_bytes"]
  }';
  v_faults text[] := array[]::text[];
begin
  if jsonb_typeof(p_content) is distinct from 'object' then
    return array['content_is_not_an_object'];
  elsif pg_column_size(p_content) > 200000 then
    return array['content_too_large'];
  elsif private.has_other_fields(p_content, array(select jsonb_array_elements_text(v_fields -> p_type))) then
    v_faults := array['unknown_field'];
  end if;

  case p_type
    when 'single', 'multiple' then
      v_faults := v_faults || private.entry_faults(p_content -> 'options', 2, 100);
    when 'matching' then
      v_faults := v_faults || private.entry_faults(p_content -> 'prompts', 1, 100)
        || private.entry_faults(p_content -> 'choices', 2, 200);
    when 'ordering' then
      v_faults := v_faults || private.entry_faults(p_content -> 'items', 2, 100);
    when 'numeric' then
      if p_content ? 'units' then
        if jsonb_typeof(p_content -> 'units') <> 'array' then
          return v_faults || 'list_missing'::text;
        elsif jsonb_array_length(p_content -> 'units') not between 1 and 50 then
          return v_faults || 'too_many_entries'::text;
        end if;
        select array_agg(private.normal_unit(private.json_text(u.unit, 50))) into v_list
        from jsonb_array_elements(p_content -> 'units') as u (unit);
        if exists (select from unnest(v_list) as u (unit) where coalesce(u.unit, '') = '') then
          v_faults := v_faults || 'unit_invalid'::text;
        elsif (select count(distinct u.unit) from unnest(v_list) as u (unit)) < cardinality(v_list) then
          v_faults := v_faults || 'unit_not_unique'::text;
        end if;
      end if;
    when 'essay' then
      if (p_content ? 'min_words' and private.json_integer(p_content -> 'min_words', 1, 10000) is null)
        or (p_content ? 'max_words' and private.json_integer(p_content -> 'max_words', 1, 10000) is null)
        or private.json_integer(p_content -> 'min_words', 1, 10000) > private.json_integer(p_content -> 'max_words', 1, 10000)
      then
        v_faults := v_faults || 'words_invalid'::text;
      end if;
    when 'file_upload' then
      if p_content ? 'max_files' and private.json_integer(p_content -> 'max_files', 1, 20) is null then
        v_faults := v_faults || 'max_files_invalid'::text;
      end if;
      if p_content ? 'max_bytes' and private.json_integer(p_content -> 'max_bytes', 1, 1073741824) is null then
        v_faults := v_faults || 'max_bytes_invalid'::text;
      end if;
      if p_content ? 'extensions' then
        if jsonb_typeof(p_content -> 'extensions') <> 'array' then
          v_faults := v_faults || 'list_missing'::text;
        elsif jsonb_array_length(p_content -> 'extensions') not between 1 and 50 then
          v_faults := v_faults || 'too_many_entries'::text;
        elsif exists (
          select
          from jsonb_array_elements(p_content -> 'extensions') as e (extension)
          where coalesce(private.json_text(e.extension, 10), '') !~ '^[a-z0-9]+$'
        ) then
          v_faults := v_faults || 'extension_invalid'::text;
        end if;
      end if;
    else
      null;
  end case;
  return v_faults;
end
$$;

create function private.question_faults(p_type text, p_content jsonb, p_scoring text)
returns setof text
language plpgsql
immutable
rows 2
set search_path = ''
as $$
begin
  if p_type is null or p_type <> all (array[
    'single', 'multiple', 'true_false', 'short_answer', 'numeric', 'matching', 'ordering', 'essay', 'file_upload'
  ]) then
    return next 'unknown_type';
    return;
  end if;
  if p_scoring is null or p_scoring <> all (array['all_or_nothing', 'partial', 'partial_negative']) then
    return next 'unknown_scoring';
  elsif p_scoring = 'partial_negative' and p_type in ('short_answer', 'numeric', 'essay', 'file_upload') then
    -- Negative credit takes away what guessing among choices would win. What is typed cannot be guessed.
    return next 'negative_credit_needs_choices';
  end if;
  return query select distinct f.code from unnest(private.content_faults(p_type, p_content)) as f (code) order by 1;
end
$$;

comment on function private.question_faults is
  'What is wrong with a question, as codes: unknown_type, unknown_scoring, negative_credit_needs_choices, '
  'content_is_not_an_object, content_too_large, unknown_field, list_missing, too_few_entries, too_many_entries, id_invalid, '
  'id_not_unique, text_invalid, unit_invalid, unit_not_unique, words_invalid, max_files_invalid, max_bytes_invalid, '
  'extension_invalid. Nothing when it is in order.';

-- =====================================================================================================
-- Keys
-- =====================================================================================================

-- Which ids a list of them names; null unless it is a list of at most so many different ids of those.
create function private.chosen_ids(p_list jsonb, p_ids text[])
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_chosen text[];
begin
  if jsonb_typeof(p_list) is distinct from 'array' or jsonb_array_length(private.json_list(p_list)) > cardinality(p_ids) then
    return null;
  end if;
  select coalesce(array_agg(private.json_text(e.entry, 100) order by e.place), '{}') into v_chosen
  from jsonb_array_elements(private.json_list(p_list)) with ordinality as e (entry, place);
  if array_position(v_chosen, null) is not null or not v_chosen <@ p_ids
    or (select count(distinct c.id) from unnest(v_chosen) as c (id)) < cardinality(v_chosen)
  then
    return null;
  end if;
  return v_chosen;
end
$$;

create function private.numeric_key_faults(p_content jsonb, p_key jsonb)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_factors constant jsonb := private.json_list(p_key -> 'units');
  v_units text[];
  v_faults text[] := array[]::text[];
begin
  if (private.json_ratio(p_key -> 'value')).bottom is null then
    v_faults := v_faults || 'value_invalid'::text;
  end if;
  if p_key ? 'tolerance' and not coalesce(private.json_decimal(p_key -> 'tolerance') >= 0, false) then
    v_faults := v_faults || 'tolerance_invalid'::text;
  end if;
  if p_key ? 'tolerance_kind' and coalesce(private.json_text(p_key -> 'tolerance_kind', 20), '') not in ('absolute', 'relative') then
    v_faults := v_faults || 'tolerance_kind_invalid'::text;
  end if;
  if p_key ? 'unit_required' and jsonb_typeof(p_key -> 'unit_required') <> 'boolean' then
    v_faults := v_faults || 'unit_required_invalid'::text;
  end if;
  if jsonb_typeof(p_key -> 'units') <> 'array' or jsonb_array_length(v_factors) > 50 then
    return v_faults || 'units_invalid'::text;
  end if;

  select coalesce(array_agg(private.normal_unit(private.json_text(u.entry -> 'unit', 50))), '{}') into v_units
  from jsonb_array_elements(v_factors) as u (entry);
  if exists (select from unnest(v_units) as u (unit) where coalesce(u.unit, '') = '')
    or exists (
      select
      from jsonb_array_elements(v_factors) as u (entry)
      where not coalesce((private.json_ratio(u.entry -> 'factor')).top > 0, false)
        or private.has_other_fields(u.entry, '{unit,factor}')
    )
  then
    v_faults := v_faults || 'units_invalid'::text;
  elsif (select count(distinct u.unit) from unnest(v_units) as u (unit)) < cardinality(v_units) then
    v_faults := v_faults || 'unit_not_unique'::text;
  end if;
  if exists (
    select
    from jsonb_array_elements(private.json_list(p_content -> 'units')) as u (unit)
    where private.normal_unit(private.json_text(u.unit, 50)) <> all (v_units)
  ) then
    v_faults := v_faults || 'unit_without_factor'::text;
  end if;
  if p_key -> 'unit_required' = 'true' and cardinality(v_units) = 0 then
    v_faults := v_faults || 'unit_without_factor'::text;
  end if;
  return v_faults;
end
$$;

create function private.short_key_faults(p_key jsonb)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_accepted constant jsonb := private.json_list(p_key -> 'accepted');
  v_flag text;
  v_faults text[] := array[]::text[];
begin
  foreach v_flag in array array['case_sensitive', 'keep_diacritics', 'keep_punctuation'] loop
    if p_key ? v_flag and jsonb_typeof(p_key -> v_flag) <> 'boolean' then
      return array['flag_invalid'];
    end if;
  end loop;
  if jsonb_array_length(v_accepted) not between 1 and 200 then
    return array['accepted_invalid'];
  end if;
  if exists (
    select
    from jsonb_array_elements(v_accepted) as a (entry)
    where private.has_other_fields(a.entry, '{text,fraction}')
      -- Nothing but what is left out of the comparison would be equal to any such answer.
      or coalesce(private.normal_answer(
        private.json_text(a.entry -> 'text', 1000), true, true,
        coalesce(p_key -> 'keep_punctuation' = 'true', false)
      ), '') = ''
      or coalesce(private.normal_answer(
        private.json_text(a.entry -> 'text', 1000), coalesce(p_key -> 'case_sensitive' = 'true', false),
        coalesce(p_key -> 'keep_diacritics' = 'true', false), coalesce(p_key -> 'keep_punctuation' = 'true', false)
      ), '') = ''
  ) then
    v_faults := v_faults || 'accepted_invalid'::text;
  end if;
  if exists (
    select
    from jsonb_array_elements(v_accepted) as a (entry)
    where a.entry ? 'fraction' and not coalesce(
      private.json_decimal(a.entry -> 'fraction') > 0 and private.json_decimal(a.entry -> 'fraction') <= 1
        and scale(private.json_decimal(a.entry -> 'fraction')) <= 6,
      false
    )
  ) then
    v_faults := v_faults || 'fraction_invalid'::text;
  elsif not exists (
    select
    from jsonb_array_elements(v_accepted) as a (entry)
    where not a.entry ? 'fraction' or private.json_decimal(a.entry -> 'fraction') = 1
  ) then
    v_faults := v_faults || 'nothing_earns_full_credit'::text;
  end if;
  return v_faults;
end
$$;

create function private.rubric_faults(p_key jsonb)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_rubric constant jsonb := private.json_list(p_key -> 'rubric');
  v_ids constant text[] := private.ids_of(v_rubric);
  v_faults text[] := array[]::text[];
begin
  if p_key ? 'model_answer' and private.json_text(p_key -> 'model_answer', 50000) is null then
    v_faults := v_faults || 'model_answer_invalid'::text;
  end if;
  if p_key ? 'rubric' then
    if jsonb_array_length(v_rubric) not between 1 and 50 then
      return v_faults || 'rubric_invalid'::text;
    elsif exists (
      select
      from jsonb_array_elements(v_rubric) as r (entry)
      where coalesce(private.json_text(r.entry -> 'id', 100), '') !~ '\S'
        or coalesce(private.json_text(r.entry -> 'criterion', 1000), '') !~ '\S'
        or not coalesce(
          private.json_decimal(r.entry -> 'points') > 0 and private.json_decimal(r.entry -> 'points') <= 10000
            and scale(private.json_decimal(r.entry -> 'points')) <= 2,
          false
        )
        or private.has_other_fields(r.entry, '{id,criterion,points}')
    ) then
      v_faults := v_faults || 'rubric_invalid'::text;
    elsif (select count(distinct i.id) from unnest(v_ids) as i (id)) < cardinality(v_ids) then
      v_faults := v_faults || 'id_not_unique'::text;
    end if;
  end if;
  return v_faults;
end
$$;

create function private.key_faults(p_type text, p_content jsonb, p_key jsonb)
returns setof text
language plpgsql
immutable
rows 2
set search_path = ''
as $$
declare
  v_fields constant jsonb := jsonb '{
    "single": ["correct"], "multiple": ["correct"], "true_false": ["correct"],
    "short_answer": ["accepted", "case_sensitive", "keep_diacritics", "keep_punctuation"],
    "numeric": ["value", "tolerance", "tolerance_kind", "units", "unit_required"],
    "matching": ["pairs"], "ordering": ["order"], "essay": ["rubric", "model_answer"],
    "file_upload": ["rubric", "model_answer"]
  }';
  v_faults text[] := array[]::text[];
  v_ids text[];
  v_choices text[];
begin
  if not coalesce(v_fields ? p_type, false) then
    return next 'unknown_type';
    return;
  elsif jsonb_typeof(p_key) is distinct from 'object' then
    return next 'key_is_not_an_object';
    return;
  elsif pg_column_size(p_key) > 200000 then
    return next 'key_too_large';
    return;
  elsif private.has_other_fields(p_key, array(select jsonb_array_elements_text(v_fields -> p_type))) then
    v_faults := array['unknown_field'];
  end if;

  case p_type
    when 'single' then
      if not coalesce(private.json_text(p_key -> 'correct', 100) = any (private.ids_of(p_content -> 'options')), false) then
        v_faults := v_faults || 'correct_invalid'::text;
      end if;
    when 'multiple' then
      -- None at all could not be told from no answer.
      if coalesce(cardinality(private.chosen_ids(p_key -> 'correct', private.ids_of(p_content -> 'options'))), 0) = 0 then
        v_faults := v_faults || 'correct_invalid'::text;
      end if;
    when 'true_false' then
      if jsonb_typeof(p_key -> 'correct') is distinct from 'boolean' then
        v_faults := v_faults || 'correct_invalid'::text;
      end if;
    when 'short_answer' then
      v_faults := v_faults || private.short_key_faults(p_key);
    when 'numeric' then
      v_faults := v_faults || private.numeric_key_faults(p_content, p_key);
    when 'matching' then
      v_ids := private.ids_of(p_content -> 'prompts');
      v_choices := private.ids_of(p_content -> 'choices');
      if jsonb_typeof(p_key -> 'pairs') is distinct from 'object' or not (p_key -> 'pairs') ?& v_ids
        or private.has_other_fields(p_key -> 'pairs', v_ids) or p_key -> 'pairs' = '{}'
        or exists (
          select
          from unnest(v_ids) as p (id)
          where not coalesce(private.json_text(p_key -> 'pairs' -> p.id, 100) = any (v_choices), false)
        )
      then
        v_faults := v_faults || 'pairs_invalid'::text;
      end if;
    when 'ordering' then
      v_ids := private.ids_of(p_content -> 'items');
      if coalesce(cardinality(private.chosen_ids(p_key -> 'order', v_ids)), 0) < greatest(cardinality(v_ids), 2) then
        v_faults := v_faults || 'order_invalid'::text;
      end if;
    else
      v_faults := v_faults || private.rubric_faults(p_key);
  end case;
  return query select distinct f.code from unnest(v_faults) as f (code) order by 1;
end
$$;

comment on function private.key_faults is
  'What is wrong with the key of a question, as codes: unknown_type, key_is_not_an_object, key_too_large, unknown_field, '
  'correct_invalid, accepted_invalid, fraction_invalid, nothing_earns_full_credit, flag_invalid, value_invalid, '
  'tolerance_invalid, tolerance_kind_invalid, unit_required_invalid, units_invalid, unit_not_unique, unit_without_factor, '
  'pairs_invalid, order_invalid, rubric_invalid, id_not_unique, model_answer_invalid. Nothing when it is in order.';

-- =====================================================================================================
-- Answers
-- =====================================================================================================

-- Not answered: no row, null, an empty list, blank text.
create function private.is_unanswered(p_type text, p_response jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return coalesce(
    case
      when p_response is null or jsonb_typeof(p_response) = 'null' then true
      when p_type in ('multiple', 'ordering') then p_response = '[]'
      when p_type = 'matching' then jsonb_typeof(p_response) = 'object' and jsonb_strip_nulls(p_response) = '{}'
      when p_type in ('single', 'short_answer') then jsonb_typeof(p_response) = 'string' and p_response #>> '{}' !~ '\S'
      when p_type = 'numeric' then
        (jsonb_typeof(p_response) = 'string' and p_response #>> '{}' !~ '\S')
        or (jsonb_typeof(p_response) = 'object' and (
          coalesce(jsonb_typeof(p_response -> 'value'), 'null') = 'null'
          or (jsonb_typeof(p_response -> 'value') = 'string' and p_response ->> 'value' !~ '\S')
        ))
      when p_type = 'essay' then
        jsonb_typeof(p_response) = 'object' and (
          coalesce(jsonb_typeof(p_response -> 'text'), 'null') = 'null'
          or (jsonb_typeof(p_response -> 'text') = 'string' and p_response ->> 'text' !~ '\S')
        )
      when p_type = 'file_upload' then
        jsonb_typeof(p_response) = 'object' and coalesce(p_response -> 'files', '[]') in ('[]', 'null')
      else false
    end,
    true
  );
end
$$;

create function private.file_faults(p_content jsonb, p_files jsonb)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_paths text[];
begin
  if jsonb_array_length(p_files) > coalesce(private.json_integer(p_content -> 'max_files', 1, 20), 20) then
    return array['too_many_files'];
  end if;
  select coalesce(array_agg(private.json_text(f.path, 1000)), '{}') into v_paths from jsonb_array_elements(p_files) as f (path);
  if exists (
    select
    from unnest(v_paths) as p (path)
    where coalesce(p.path, '') !~ '\S' or p.path ~ '[\x01-\x1f\\]' or p.path ~ '(^|/)[.]{0,2}(/|$)'
  ) then
    return array['path_invalid'];
  elsif (select count(distinct p.path) from unnest(v_paths) as p (path)) < cardinality(v_paths) then
    return array['file_not_unique'];
  elsif p_content ? 'extensions' and exists (
    select
    from unnest(v_paths) as p (path)
    where not private.json_list(p_content -> 'extensions') ? coalesce(lower(substring(p.path from '[.]([A-Za-z0-9]+)$')), '')
  ) then
    return array['extension_not_allowed'];
  end if;
  return array[]::text[];
end
$$;

create function private.response_faults(p_type text, p_content jsonb, p_response jsonb)
returns setof text
language plpgsql
immutable
rows 1
set search_path = ''
as $$
declare
  v_ids text[];
  v_choices text[];
  v_unit text;
  v_value jsonb;
begin
  if p_type is null or p_type <> all (array[
    'single', 'multiple', 'true_false', 'short_answer', 'numeric', 'matching', 'ordering', 'essay', 'file_upload'
  ]) then
    return next 'unknown_type';
    return;
  -- Before anything is read of it. An essay of 50,000 characters takes up to 200,000 bytes.
  elsif pg_column_size(p_response) > 250000 then
    return next 'response_too_large';
    return;
  elsif private.is_unanswered(p_type, p_response) then
    if jsonb_typeof(p_response) = 'object' and private.has_other_fields(
      p_response,
      case p_type
        when 'numeric' then '{value,unit}'
        when 'essay' then '{text}'
        when 'file_upload' then '{files}'
        else private.ids_of(p_content -> 'prompts')
      end
    ) then
      return next 'unknown_field';
    end if;
    return;
  end if;

  case p_type
    when 'single' then
      if jsonb_typeof(p_response) <> 'string' then
        return next 'not_an_option';
      elsif not coalesce(private.json_text(p_response, 100) = any (private.ids_of(p_content -> 'options')), false) then
        return next 'not_an_option';
      end if;
    when 'multiple' then
      if private.chosen_ids(p_response, private.ids_of(p_content -> 'options')) is null then
        return next 'not_a_list_of_options';
      end if;
    when 'true_false' then
      if jsonb_typeof(p_response) <> 'boolean' then
        return next 'not_true_or_false';
      end if;
    when 'short_answer' then
      if jsonb_typeof(p_response) <> 'string' then
        return next 'not_a_text';
      elsif private.json_text(p_response, 1000) is null then
        return next 'text_too_long';
      end if;
    when 'numeric' then
      v_value := case jsonb_typeof(p_response) when 'object' then p_response -> 'value' else p_response end;
      if private.has_other_fields(p_response, '{value,unit}') then
        return next 'unknown_field';
      end if;
      if jsonb_typeof(v_value) not in ('string', 'number') then
        return next 'not_a_number';
      elsif jsonb_typeof(v_value) = 'string' and private.json_text(v_value, 500) is null then
        return next 'text_too_long';
      elsif jsonb_typeof(v_value) = 'number' and (private.json_ratio(v_value)).bottom is null then
        return next 'number_out_of_range';
      end if;
      if jsonb_typeof(p_response) = 'object' and coalesce(jsonb_typeof(p_response -> 'unit'), 'null') <> 'null' then
        v_unit := private.normal_unit(private.json_text(p_response -> 'unit', 50));
        if v_unit is null or (
          v_unit <> '' and p_content ? 'units' and not exists (
            select
            from jsonb_array_elements(private.json_list(p_content -> 'units')) as u (unit)
            where private.normal_unit(private.json_text(u.unit, 50)) = v_unit
          )
        ) then
          return next 'unit_unknown';
        end if;
      end if;
    when 'matching' then
      v_ids := private.ids_of(p_content -> 'prompts');
      v_choices := private.ids_of(p_content -> 'choices');
      if jsonb_typeof(p_response) <> 'object' then
        return next 'not_a_list_of_pairs';
      elsif private.has_other_fields(p_response, v_ids) then
        return next 'not_a_prompt';
      elsif exists (
        select
        from unnest(v_ids) as p (id)
        where p_response ? p.id and jsonb_typeof(p_response -> p.id) <> 'null'
          and not coalesce(private.json_text(p_response -> p.id, 100) = any (v_choices), false)
      ) then
        return next 'not_a_choice';
      end if;
    when 'ordering' then
      if private.chosen_ids(p_response, private.ids_of(p_content -> 'items')) is null then
        return next 'not_a_list_of_items';
      end if;
    when 'essay' then
      if jsonb_typeof(p_response) <> 'object' then
        return next 'not_a_text';
      elsif private.has_other_fields(p_response, '{text}') then
        return next 'unknown_field';
      elsif jsonb_typeof(p_response -> 'text') is distinct from 'string' then
        return next 'not_a_text';
      elsif private.json_text(p_response -> 'text', 50000) is null then
        return next 'text_too_long';
      end if;
    else
      if jsonb_typeof(p_response) <> 'object' then
        return next 'not_a_list_of_files';
      elsif private.has_other_fields(p_response, '{files}') then
        return next 'unknown_field';
      elsif jsonb_typeof(p_response -> 'files') is distinct from 'array' then
        return next 'not_a_list_of_files';
      else
        return query select f.code from unnest(private.file_faults(p_content, p_response -> 'files')) as f (code);
      end if;
  end case;
end
$$;

comment on function private.response_faults is
  'What keeps an answer from being one to this question, as codes: its shape only, never whether it is right; what is left '
  'open is none. unknown_type, response_too_large, unknown_field, not_an_option, not_a_list_of_options, not_true_or_false, '
  'not_a_text, text_too_long, not_a_number, number_out_of_range, unit_unknown, not_a_list_of_pairs, not_a_prompt, '
  'not_a_choice, not_a_list_of_items, not_a_list_of_files, too_many_files, path_invalid, file_not_unique, '
  'extension_not_allowed.';

-- =====================================================================================================
-- What an answer is worth
-- =====================================================================================================

create type private.grading as (points numeric, is_correct boolean, waits boolean, explanation jsonb);

comment on type private.grading is
  'points: null while a grader has to say (waits). explanation: how it came about, {reason, earned, of, ...}; it names no '
  'right answer.';

-- What was earned, as a fraction of what could be: whole numbers, so that nothing is rounded before the points are.
create type private.credit as (earned numeric, possible numeric, details jsonb);

create function private.numeric_credit(p_key jsonb, p_response jsonb)
returns private.credit
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_number constant text := '[+-]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:[eE][+-]?[0-9]{1,3})?';
  v_value constant jsonb := case jsonb_typeof(p_response) when 'object' then p_response -> 'value' else p_response end;
  v_expected constant private.ratio := private.json_ratio(p_key -> 'value');
  v_tolerance constant numeric := coalesce(private.json_decimal(p_key -> 'tolerance'), 0);
  v_text text;
  v_given private.ratio;
  v_factor private.ratio;
  v_unit text := '';
  v_digits text;
begin
  if jsonb_typeof(v_value) = 'number' then
    v_given := private.json_ratio(v_value);
  else
    -- The longest number that the text begins with; what follows is its unit.
    v_text := replace(btrim(private.json_text(v_value, 500), E' \t\n\r'), U&'\2212', '-');
    v_digits := substring(v_text from format('^(%s(?: */ *%s)?)', v_number, v_number));
    v_given := private.read_ratio(v_digits);
    v_unit := private.normal_unit(substr(v_text, coalesce(length(v_digits), 0) + 1));
    if v_given.bottom is null or v_unit ~ '^[0-9.,/+-]' then
      return (0, 1, '{"reason": "not_a_number"}')::private.credit;
    end if;
  end if;
  if jsonb_typeof(p_response) = 'object' and jsonb_typeof(p_response -> 'unit') = 'string' then
    v_text := private.normal_unit(private.json_text(p_response -> 'unit', 50));
    if v_unit <> '' and v_text <> '' and v_unit <> v_text then
      return (0, 1, '{"reason": "unit_unknown"}')::private.credit;
    end if;
    v_unit := coalesce(nullif(v_text, ''), v_unit);
  end if;

  if v_unit = '' then
    if coalesce(p_key -> 'unit_required' = 'true', false) then
      return (0, 1, '{"reason": "unit_missing"}')::private.credit;
    end if;
    v_factor := (1, 1)::private.ratio;
  else
    select f.top, f.bottom into v_factor
    from jsonb_array_elements(private.json_list(p_key -> 'units')) as u (entry)
    cross join lateral private.json_ratio(u.entry -> 'factor') as f
    where private.normal_unit(private.json_text(u.entry -> 'unit', 50)) = v_unit
    limit 1;
    if v_factor.bottom is null then
      return (0, 1, '{"reason": "unit_unknown"}')::private.credit;
    end if;
  end if;

  -- |given * factor - expected| <= tolerance, times all the bottoms: nothing is divided, so nothing is rounded.
  if abs(v_given.top * v_factor.top * v_expected.bottom - v_expected.top * v_given.bottom * v_factor.bottom)
    <= v_tolerance * v_given.bottom * v_factor.bottom
      * (case p_key ->> 'tolerance_kind' when 'relative' then abs(v_expected.top) else v_expected.bottom end)
  then
    return (1, 1, null)::private.credit;
  end if;
  return (0, 1, null)::private.credit;
end
$$;

create function private.credit_of(
  p_type text, p_content jsonb, p_scoring text, p_key jsonb, p_response jsonb
)
returns private.credit
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_chosen text[];
  v_correct text[];
  v_right integer;
  v_wrong integer;
  v_possible integer;
  v_fraction numeric;
  v_flags boolean[];
  v_text text;
begin
  case p_type
    when 'numeric' then
      return private.numeric_credit(p_key, p_response);

    when 'short_answer' then
      v_flags := array[
        coalesce(p_key -> 'case_sensitive' = 'true', false), coalesce(p_key -> 'keep_diacritics' = 'true', false),
        coalesce(p_key -> 'keep_punctuation' = 'true', false)
      ];
      v_text := private.normal_answer(p_response #>> '{}', v_flags[1], v_flags[2], v_flags[3]);
      select max(coalesce(private.json_decimal(a.entry -> 'fraction'), 1)) into v_fraction
      from jsonb_array_elements(p_key -> 'accepted') as a (entry)
      where private.normal_answer(a.entry ->> 'text', v_flags[1], v_flags[2], v_flags[3]) = v_text;
      v_fraction := coalesce(v_fraction, 0);
      if p_scoring = 'all_or_nothing' then
        v_fraction := trunc(v_fraction);
      end if;
      return (v_fraction, 1, jsonb_build_object('compared', v_text))::private.credit;

    when 'single', 'true_false' then
      v_right := case when p_response = p_key -> 'correct' then 1 else 0 end;
      v_possible := greatest(case p_type when 'single' then jsonb_array_length(p_content -> 'options') else 2 end - 1, 1);
      -- Who guesses gains nothing on average: with n options, a wrong one costs 1/(n-1).
      return (
        case when v_right = 1 then v_possible when p_scoring = 'partial_negative' then -1 else 0 end, v_possible, null
      )::private.credit;

    when 'multiple' then
      v_chosen := array(select jsonb_array_elements_text(p_response));
      v_correct := array(select jsonb_array_elements_text(p_key -> 'correct'));
      v_possible := cardinality(v_correct);
      select count(*) into v_right from unnest(v_chosen) as c (id) where c.id = any (v_correct);
      v_wrong := cardinality(v_chosen) - v_right;

    when 'matching' then
      v_correct := private.ids_of(p_content -> 'prompts');
      v_possible := cardinality(v_correct);
      select
        count(*) filter (where p_response -> p.id = p_key -> 'pairs' -> p.id),
        count(*) filter (where p_response -> p.id <> p_key -> 'pairs' -> p.id)
      into v_right, v_wrong
      from unnest(v_correct) as p (id)
      where p_response ? p.id and jsonb_typeof(p_response -> p.id) <> 'null';

    when 'ordering' then
      -- By neighbours: who has one thing at the wrong place loses that, not everything behind it.
      v_chosen := array(select jsonb_array_elements_text(p_response));
      v_correct := array(select jsonb_array_elements_text(p_key -> 'order'));
      v_possible := cardinality(v_correct) - 1;
      select count(*) into v_right
      from generate_series(1, cardinality(v_chosen) - 1) as n
      where array_position(v_correct, v_chosen[n + 1]) = array_position(v_correct, v_chosen[n]) + 1;
      v_wrong := cardinality(v_chosen) - 1 - v_right;
  end case;

  return (
    case p_scoring
      when 'partial_negative' then greatest(v_right - v_wrong, -v_possible)
      when 'partial' then case p_type when 'multiple' then greatest(v_right - v_wrong, 0) else v_right end
      else case when v_right = v_possible and v_wrong = 0 then v_possible else 0 end
    end,
    v_possible,
    jsonb_build_object('right', v_right, 'wrong', v_wrong)
  )::private.credit;
end
$$;

create function private.grade_response(
  p_type text, p_content jsonb, p_scoring text, p_points numeric, p_key jsonb, p_response jsonb
)
returns private.grading
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_credit private.credit;
  -- 'NaN' is greater than every number.
  v_points constant numeric := case when p_points > 0 and p_points <= 1000000 then p_points else 0 end;
  v_faults text[];
begin
  v_faults := array(select private.response_faults(p_type, p_content, p_response));
  if v_faults <> '{}' then
    return (0, false, false, jsonb_build_object('reason', 'invalid_response', 'faults', v_faults))::private.grading;
  elsif private.is_unanswered(p_type, p_response) then
    return (0, false, false, '{"reason": "unanswered"}')::private.grading;
  elsif p_type in ('essay', 'file_upload') then
    return (null, null, true, '{"reason": "waits_for_grader"}')::private.grading;
  elsif exists (select from private.key_faults(p_type, p_content, p_key)) then
    -- Without a key that can be applied nobody is wrong: a person has to look.
    return (null, null, true, '{"reason": "no_key"}')::private.grading;
  end if;

  v_credit := private.credit_of(p_type, p_content, p_scoring, p_key, p_response);
  return (
    private.round_half_up(v_points * v_credit.earned, v_credit.possible),
    v_credit.earned = v_credit.possible,
    false,
    jsonb_build_object(
      'reason', case
        when v_credit.earned = v_credit.possible then 'correct'
        when v_credit.earned > 0 then 'partly_correct'
        else 'wrong'
      end,
      'earned', v_credit.earned, 'of', v_credit.possible
    ) || coalesce(v_credit.details, '{}')
  )::private.grading;
end
$$;

comment on function private.grade_response is
  'What an answer is worth by a key. Points are p_points * earned / of, halves rounded up to two digits. all_or_nothing: all '
  'or 0. partial: of multiple (right - wrong) / correct ones, not below 0; of matching right pairs / prompts; of ordering '
  'neighbours in the right order / (items - 1); of short_answer the fraction of the accepted text. partial_negative: (right - '
  'wrong) of the same, down to minus all; a wrong single choice of n costs 1 / (n - 1), a wrong true_false all. What is left '
  'open is 0. Never raises: an answer that is none is 0 (invalid_response), a key that is none leaves it to a grader (no_key).';

notify pgrst, 'reload schema';

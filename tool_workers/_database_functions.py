"""The functions of each database that a statement may call: they compute, and touch nothing else.

Left out on purpose: what runs a text as SQL (`ts_stat`, `query_to_xml`), reads or writes files,
keeps or changes anything beyond the statement (`nextval`, `set_config`, `get_lock`), waits
(`pg_sleep`), tells of the server and its users (`version`, `current_user`), or makes a text of
any length out of nothing (`repeat`, `lpad`, `format`, `space`).
"""

from __future__ import annotations

_EVERYWHERE = """
    abs acos asin atan atan2 avg ceil ceiling coalesce concat concat_ws cos cot count cume_dist
    degrees dense_rank exp first_value floor group_concat lag last_value lead length ln log lower
    ltrim max min mod nth_value ntile nullif octet_length percent_rank pi pow power radians rank
    replace round row_number rtrim sign sin sqrt substr substring sum tan trim upper cast
    string_agg current_date current_time current_timestamp date
"""
_SQLITE = """
    acosh asinh atanh char cosh datetime glob hex if ifnull iif instr json json_array
    json_array_length json_each json_extract json_group_array json_group_object json_insert
    json_object json_patch json_quote json_remove json_replace json_set json_tree json_type
    json_valid julianday like log10 log2 median percentile percentile_cont percentile_disc quote
    random sinh soundex strftime tanh time timediff total trunc typeof unhex unicode unistr
    unixepoch zeroblob
"""
_POSTGRESQL = """
    acosd acosh age any_value array array_agg array_append array_cat array_length array_lower
    array_ndims array_position array_positions array_prepend array_remove array_replace
    array_to_json array_to_string array_upper ascii asind asinh atan2d atand atanh bit_and
    bit_length bit_or bit_xor bool_and bool_or btrim cardinality cbrt char_length character_length
    chr clock_timestamp corr cosd cosh cotd covar_pop covar_samp date_add date_bin date_part
    date_subtract date_trunc decode div encode erf every extract factorial gcd greatest grouping
    initcap isfinite json_agg json_array_elements json_array_elements_text json_array_length
    json_build_array json_build_object json_each json_each_text json_extract_path
    json_extract_path_text json_object json_object_agg json_object_keys json_strip_nulls json_typeof
    jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
    jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text
    jsonb_object jsonb_object_agg jsonb_object_keys jsonb_path_exists jsonb_path_query
    jsonb_path_query_array jsonb_path_query_first jsonb_set jsonb_strip_nulls jsonb_typeof
    justify_days justify_hours justify_interval lcm least left localtime localtimestamp log10
    make_date make_interval make_time make_timestamp make_timestamptz md5 min_scale mode
    now num_nonnulls num_nulls overlay percentile_cont percentile_disc position quote_ident
    quote_literal quote_nullable random range_agg regexp_count regexp_instr regexp_like regexp_match
    regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr
    regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    reverse right row row_to_json scale sha224 sha256 sha384 sha512 sind sinh split_part
    starts_with statement_timestamp stddev stddev_pop stddev_samp string_to_array string_to_table
    strpos tand tanh timezone to_ascii to_char to_date to_hex to_json to_jsonb to_number
    to_timestamp transaction_timestamp translate trim_array trim_scale trunc unnest var_pop var_samp
    variance width_bucket generate_series generate_subscripts
"""
_MARIADB = """
    adddate addtime ascii bin bit_and bit_count bit_length bit_or bit_xor char char_length
    character_length conv convert convert_tz crc32 curdate curtime date_add date_format date_sub
    datediff day dayname dayofmonth dayofweek dayofyear default elt export_set extract field
    find_in_set from_days from_unixtime get_format greatest hex hour if ifnull inet_aton inet_ntoa
    insert instr interval isnull json_array json_array_append json_array_insert json_arrayagg
    json_compact json_contains json_contains_path json_depth json_detailed json_exists json_extract
    json_insert json_keys json_length json_loose json_merge_patch json_merge_preserve json_object
    json_objectagg json_query json_quote json_remove json_replace json_search json_set json_type
    json_unquote json_valid json_value last_day lcase least left localtime localtimestamp locate
    log10 log2 make_set makedate maketime md5 median microsecond mid minute month monthname now
    nvl nvl2 oct ord percentile_cont percentile_disc period_add period_diff position quarter quote
    rand reverse right sec_to_time second sha sha1 sha2 soundex std stddev stddev_pop stddev_samp
    str_to_date strcmp subdate substring_index subtime sysdate time time_format time_to_sec timediff
    timestamp timestampadd timestampdiff to_base64 to_char to_days to_seconds truncate ucase unhex
    unix_timestamp utc_date utc_time utc_timestamp value values var_pop var_samp variance week
    weekday weekofyear year yearweek
"""

#: Their names in small letters, by sqlglot's name of the dialect.
FUNCTIONS = {
    dialect: frozenset(f"{_EVERYWHERE} {more}".split())
    for dialect, more in {"sqlite": _SQLITE, "postgres": _POSTGRESQL, "mysql": _MARIADB}.items()
}

#: Words of the language, and names of types with a size, that may stand before a parenthesis.
_WORDS = """
    all and any as between bit by case char character conflict cross cube decimal distinct double
    else except exists filter float from full group having ilike in inner intersect interval is join
    lateral like limit materialized not numeric offset on or over partition returning rollup select
    set sets signed some then time timestamp union unsigned using values varchar varying when where
    within xor div
"""
WORDS = frozenset(_WORDS.split())

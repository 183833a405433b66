//! The functions that read and write no table.
//!
//! A statement's text shows the tables that it names, not those that a function of the database touches. So a function is
//! known here, or declared by the project, or the statement is refused.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Known to give the same answer for the same arguments.
///
/// What Django 5.2 to 6.1 emits for its three databases (aggregates, window and database functions, lookups,
/// `django.contrib.postgres`, GIS), and the common built-in ones. `array` is PostgreSQL's `ARRAY(SELECT …)`, which the
/// parser takes for a call; the query in it is walked like any other.
const PURE: &str = "\
    abbrev abs acos acosh adddate addtime akeys any_value array array_agg array_append array_cat array_dims \
    array_fill array_length array_lower array_ndims array_position array_positions array_prepend \
    array_remove array_replace array_sample array_shuffle array_to_json array_to_string array_to_tsvector \
    array_upper ascii asin asinh atan atan2 atan2d atanh avals avg bin_to_uuid bit_and bit_count bit_length \
    bit_or bit_xor bitxor bm25 bool_and bool_or btrim cardinality cast cbrt ceil ceiling char char_length \
    character_length chr coalesce collate collect concat concat_ws conv convert convert_from convert_to \
    convert_tz corr cos cosd cosh cot cotd count covar_pop covar_samp crc32 cume_dist date date_add date_bin \
    date_format date_part date_sub date_trunc datediff datemultirange daterange datetime day dayname \
    dayofmonth dayofweek dayofyear decode defined degrees dense_rank digest div django_date_extract \
    django_date_trunc django_datetime_cast_date django_datetime_cast_time django_datetime_extract \
    django_datetime_trunc django_format_dtdelta django_power django_time_diff django_time_extract \
    django_time_trunc django_timestamp_diff each elt encode erf erfc every exist exp export_set extent \
    extract extractvalue factorial family field find_in_set first_value floor format format_bytes \
    format_type from_base64 from_days from_unixtime gcd generate_series generate_subscripts geohash get_bit \
    get_byte get_format glob greatest group_concat grouping gunion hex highlight host hostmask hour hstore \
    hstore_to_array hstore_to_json hstore_to_jsonb hstore_to_matrix if ifnull iif inet6_aton inet6_ntoa \
    inet_aton inet_ntoa inet_same_family initcap insert instr int4multirange int4range int8multirange \
    int8range interval is_ipv4 is_ipv6 is_uuid isempty isfinite isnull json json_agg json_array \
    json_array_append json_array_elements json_array_elements_text json_array_insert json_array_length \
    json_arrayagg json_build_array json_build_object json_compact json_contains json_contains_path \
    json_depth json_detailed json_each json_each_text json_equals json_error_position json_exists \
    json_extract json_extract_path json_extract_path_text json_group_array json_group_object json_insert \
    json_keys json_length json_loose json_merge json_merge_patch json_merge_preserve json_normalize \
    json_object json_object_agg json_object_keys json_objectagg json_overlaps json_patch \
    json_populate_record json_pretty json_query json_quote json_remove json_replace json_scalar \
    json_schema_valid json_search json_serialize json_set json_strip_nulls json_table json_to_record \
    json_to_recordset json_tree json_type json_typeof json_unquote json_valid json_value jsonb jsonb_agg \
    jsonb_array jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array \
    jsonb_build_object jsonb_contains jsonb_each jsonb_each_text jsonb_exists jsonb_exists_all \
    jsonb_exists_any jsonb_extract jsonb_extract_path jsonb_extract_path_text jsonb_group_array \
    jsonb_group_object jsonb_insert jsonb_object jsonb_object_agg jsonb_object_keys jsonb_patch \
    jsonb_path_exists jsonb_path_match jsonb_path_query jsonb_path_query_array jsonb_path_query_first \
    jsonb_populate_record jsonb_pretty jsonb_remove jsonb_replace jsonb_set jsonb_set_lax jsonb_strip_nulls \
    jsonb_to_record jsonb_to_recordset jsonb_tree jsonb_typeof julianday justify_days justify_hours \
    justify_interval lag last_day last_value lca lcase lcm lead least left length like likelihood likely \
    linestring ln locate log log10 log2 lower lower_inc lower_inf lpad lquery ltree ltree2text ltrim \
    make_date make_interval make_set make_time make_timestamp make_timestamptz makedate makeline maketime \
    masklen matchinfo max mbrcontains mbrcoveredby mbrcovers mbrdisjoint mbrequals mbrintersects mbroverlaps \
    mbrtouches mbrwithin md5 microsecond mid min min_scale minute mod mode month monthname multirange \
    name_const netmask network nlevel normalize nth_value ntile nullif num_nonnulls num_nulls numgeom \
    nummultirange numnode numrange nvl nvl2 oct octet_length offsets ord overlaps overlay parse_ident \
    percent_rank percentile_cont percentile_disc period_add period_diff pg_column_size pg_typeof \
    phraseto_tsquery pi plainto_tsquery point polygon position pow power printf quarter querytree quote \
    quote_ident quote_literal quote_nullable radians range_agg range_intersect_agg range_merge rank regexp \
    regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array \
    regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope \
    regr_sxx regr_sxy regr_syy repeat replace reverse right round row row_number row_to_json rpad rtrim \
    scale sec_to_time second set_bit set_byte set_masklen setweight sha sha1 sha2 sha224 sha256 sha384 \
    sha512 show_trgm sign similarity sin sind sinh skeys slice snippet soundex space split_part sqrt \
    st_3ddistance st_3dextent st_3dlength st_3dperimeter st_area st_asbinary st_asewkb st_asewkt \
    st_asgeojson st_asgml st_askml st_asmvt st_asmvtgeom st_assvg st_astext st_aswkb st_aswkt st_azimuth \
    st_boundary st_buffer st_centroid st_closestpoint st_collect st_collectionextract st_contains \
    st_containsproperly st_convexhull st_coorddim st_coveredby st_covers st_crosses st_dfullywithin \
    st_difference st_dimension st_disjoint st_distance st_distance_sphere st_distancesphere \
    st_distancespheroid st_dwithin st_endpoint st_envelope st_equals st_expand st_extent st_exteriorring \
    st_force2d st_force3d st_forcepolygonccw st_forcepolygoncw st_forcerhr st_geogfromtext st_geogfromwkb \
    st_geohash st_geomcollfromtext st_geometryfromtext st_geometryfromwkb st_geometryn st_geometrytype \
    st_geomfromewkb st_geomfromewkt st_geomfromgeojson st_geomfromtext st_geomfromwkb st_interiorringn \
    st_intersection st_intersects st_isclosed st_isempty st_isring st_issimple st_isvalid st_isvalidreason \
    st_length st_length2d st_length_spheroid st_lengthspheroid st_linecrossingdirection st_linefromtext \
    st_lineinterpolatepoint st_linelocatepoint st_linemerge st_linesubstring st_m st_makeenvelope \
    st_makeline st_makepoint st_makepolygon st_makevalid st_maxdistance st_memsize st_memunion \
    st_mlinefromtext st_mpointfromtext st_mpolyfromtext st_multi st_ndims st_node st_npoints \
    st_numgeometries st_numinteriorring st_numinteriorrings st_numpoints st_orderingequals st_overlaps \
    st_perimeter st_perimeter2d st_point st_pointfromtext st_pointn st_pointonsurface st_polyfromtext \
    st_polygon st_polygonize st_reverse st_rotate st_scale st_segmentize st_setsrid st_shortestline \
    st_simplify st_simplifypreservetopology st_snap st_snaptogrid st_split st_srid st_startpoint \
    st_subdivide st_summary st_swapxy st_symdifference st_tileenvelope st_touches st_transform st_translate \
    st_union st_value st_within st_x st_xmax st_xmin st_y st_ymax st_ymin st_z starts_with std stddev \
    stddev_pop stddev_samp str_to_date strcmp strftime strict_word_similarity string string_agg \
    string_to_array string_to_table strip strpos subdate subltree subpath substr substring substring_index \
    subtime sum svals tan tand tanh text2ltree time time_format time_to_sec timediff timestamp timestampadd \
    timestampdiff timezone to_ascii to_base64 to_bin to_char to_date to_days to_hex to_json to_jsonb \
    to_number to_oct to_seconds to_timestamp to_tsquery to_tsvector total translate trim trim_array \
    trim_scale trunc truncate ts_delete ts_filter ts_headline ts_rank ts_rank_cd tsmultirange tsquery_phrase \
    tsrange tstzmultirange tstzrange tsvector_to_array typeof ucase unaccent unhex unicode unixepoch \
    unlikely unnest updatexml upper upper_inc upper_inf uuid_extract_timestamp uuid_extract_version \
    uuid_to_bin value values var_pop var_samp variance websearch_to_tsquery week weekday weekofyear \
    weight_string width_bucket word_similarity xmlagg xmlcomment xmlconcat xmlelement xmlforest xmlparse \
    xmlserialize xor xpath xpath_exists year yearweek zeroblob";

/// Known, and decided by a clock, by chance, by a sequence or by the connection; by no table.
const VOLATILE: &str = "\
    age changes clock_timestamp col_description connection_id curdate current_catalog current_database \
    current_date current_query current_role current_schema current_schemas current_setting current_time \
    current_timestamp current_user currval curtime database found_rows gen_random_bytes gen_random_uuid \
    geos_version get_lock has_schema_privilege has_table_privilege inet_client_addr inet_client_port \
    inet_server_addr inet_server_port is_free_lock is_used_lock last_insert_id last_insert_rowid lastval \
    localtime localtimestamp lwgeom_version nextval now obj_description pg_advisory_lock \
    pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared \
    pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_backend_pid pg_current_xact_id pg_database_size \
    pg_encoding_to_char pg_function_is_visible pg_get_constraintdef pg_get_expr pg_get_indexdef \
    pg_get_serial_sequence pg_get_userbyid pg_get_viewdef pg_index_column_has_property pg_indexes_size \
    pg_is_in_recovery pg_my_temp_schema pg_notify pg_postmaster_start_time pg_relation_size pg_size_pretty \
    pg_sleep pg_table_is_visible pg_table_size pg_total_relation_size pg_try_advisory_lock \
    pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared \
    pg_type_is_visible postgis_full_version postgis_geos_version postgis_lib_version postgis_proj_version \
    postgis_version proj4_version rand random random_bytes randomblob release_all_locks release_lock \
    row_count schema session_user set_config setval shobj_description sleep spatialite_version \
    sqlite_compileoption_get sqlite_compileoption_used sqlite_source_id sqlite_version statement_timestamp \
    sysdate system_user timeofday to_regclass to_regtype total_changes transaction_timestamp txid_current \
    unix_timestamp user utc_date utc_time utc_timestamp uuid uuid_generate_v1 uuid_generate_v4 \
    uuid_generate_v7 uuid_short uuid_v4 uuid_v7 uuidv4 uuidv7 version";

static PURE_NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| PURE.split_whitespace().collect());
static VOLATILE_NAMES: LazyLock<HashSet<&str>> =
    LazyLock::new(|| VOLATILE.split_whitespace().collect());

/// Whether a function, by its lower-case unqualified name, touches no table.
pub(super) fn is_known(name: &str) -> bool {
    PURE_NAMES.contains(name) || is_volatile(name)
}

/// Whether its answer depends on a clock, on chance or on the connection.
pub(super) fn is_volatile(name: &str) -> bool {
    VOLATILE_NAMES.contains(name)
}

/// Whether a bare word is a clock, or the connection: these are written without parentheses.
pub(super) fn is_clock(word: &str) -> bool {
    const CLOCKS: &[&str] = &[
        "current_catalog",
        "current_date",
        "current_role",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_user",
        "localtime",
        "localtimestamp",
        "session_user",
        "system_user",
        "utc_date",
        "utc_time",
        "utc_timestamp",
    ];
    CLOCKS.iter().any(|clock| clock.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::{PURE, PURE_NAMES, VOLATILE, VOLATILE_NAMES};

    #[test]
    fn the_lists_hold_each_name_once() {
        assert_eq!(PURE.split_whitespace().count(), PURE_NAMES.len());
        assert_eq!(VOLATILE.split_whitespace().count(), VOLATILE_NAMES.len());
        assert!(PURE_NAMES.is_disjoint(&VOLATILE_NAMES));
        assert!(!PURE.contains("  ") && !VOLATILE.contains("  "));
    }
}

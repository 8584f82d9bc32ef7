"""The parts of sqlglot's trees that a statement may be made of."""

from __future__ import annotations

from sqlglot import exp

READS = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)
WRITES = (exp.Insert, exp.Update, exp.Delete)

_QUERY = {
    exp.Alias, exp.All, exp.Any, exp.CTE, exp.Cube, exp.Distinct, exp.Except, exp.Exists,
    exp.Fetch, exp.Filter, exp.From, exp.Group, exp.GroupingSets, exp.Having, exp.HavingMax,
    exp.Identifier, exp.IgnoreNulls, exp.Intersect, exp.Join, exp.Lateral, exp.Limit, exp.Offset,
    exp.Order, exp.Ordered, exp.Paren, exp.RecursiveWithSearch, exp.RespectNulls, exp.Rollup,
    exp.Select, exp.Star, exp.Subquery, exp.TableAlias, exp.Tuple, exp.Union, exp.Values, exp.Var,
    exp.Where, exp.Window, exp.WindowSpec, exp.With, exp.WithinGroup,
}  # fmt: skip
_CHANGE = {
    exp.Delete, exp.Insert, exp.Lock, exp.OnConflict, exp.Returning, exp.Schema, exp.Update,
}  # fmt: skip
_OPERATORS = {
    exp.Add, exp.And, exp.AtTimeZone, exp.Between, exp.BitwiseAnd, exp.BitwiseLeftShift,
    exp.BitwiseNot, exp.BitwiseOr, exp.BitwiseRightShift, exp.BitwiseXor, exp.Boolean,
    exp.Bracket, exp.CharacterSet, exp.Collate, exp.DataTypeParam, exp.Div, exp.DPipe, exp.EQ,
    exp.Escape, exp.Glob, exp.GT, exp.GTE, exp.HexString, exp.ILike, exp.In, exp.IntDiv,
    exp.Interval, exp.IntervalSpan, exp.Is, exp.JSONExtractQuote, exp.JSONKeyValue, exp.JSONPath,
    exp.JSONPathKey, exp.JSONPathRoot, exp.JSONPathSlice, exp.JSONPathSubscript,
    exp.JSONPathWildcard, exp.Like, exp.Literal, exp.LT, exp.LTE, exp.Mod, exp.Mul, exp.Neg,
    exp.NEQ, exp.Not, exp.Null, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Or, exp.Overlaps,
    exp.SimilarTo, exp.Slice, exp.Sub, exp.Xor,
}  # fmt: skip
#: What is written with a word or sign instead of a name and parentheses, and calls what the guard's
#: list of names would not have seen.
_HIDDEN_CALLS = {
    exp.ConnectByRoot, exp.CurrentCatalog, exp.CurrentRole, exp.CurrentSchema, exp.CurrentUser,
    exp.MatchAgainst, exp.NextValueFor, exp.SessionUser, exp.XMLElement, exp.XMLTable,
}  # fmt: skip
#: A call in parentheses is judged by the name that stands before them.
_CALLS = {
    value for value in vars(exp).values()
    if isinstance(value, type) and issubclass(value, exp.Func)
} - _HIDDEN_CALLS - {exp.Anonymous, exp.AnonymousAggFunc}  # fmt: skip
_ALL = _QUERY | _CHANGE | _OPERATORS | _CALLS

#: Kinds of node, by sqlglot's name of the dialect. A regular expression can take any time where it
#: cannot be interrupted.
NODES: dict[str, frozenset[type]] = {
    "sqlite": frozenset(_ALL - {exp.RegexpLike, exp.RegexpILike}),
    "postgres": frozenset(_ALL | {exp.Array}),
    "mysql": frozenset(_ALL - {exp.RegexpLike, exp.RegexpILike}),
}

#: Types, which a cast may name: one that is not here may be a user's, or look into the catalogue.
_TYPES = (
    "ARRAY BIGINT BINARY BIT BLOB BOOLEAN BPCHAR CHAR DATE DATETIME DECIMAL DOUBLE FLOAT INT "
    "INTERVAL JSON JSONB LONGTEXT MEDIUMINT NCHAR NUMERIC NVARCHAR REAL SMALLINT TEXT TIME "
    "TIMESTAMP TIMESTAMPLTZ TIMESTAMPNTZ TIMESTAMPTZ TIMETZ TINYINT UBIGINT UINT USMALLINT "
    "UTINYINT UDECIMAL UUID VARBINARY VARCHAR YEAR"
)
TYPES = frozenset(getattr(exp.DType, name) for name in _TYPES.split() if hasattr(exp.DType, name))

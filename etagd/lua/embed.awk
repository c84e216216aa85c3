# SPDX-License-Identifier: Apache-2.0
# Turns Lua files into a C header: one string constant per file, named lua_<file without .lua>. ids.lua is
# no script of its own: it stands in front of each of the others.
function quoted(line) {
    gsub(/\\/, "&&", line)
    gsub(/"/, "\\\"", line)
    return "    \"" line "\\n\"\n"
}
FNR == 1 {
    name = FILENAME
    sub(/.*\//, "", name)
    sub(/\.lua$/, "", name)
    if (NR == 1) print "/* generated from etagd/lua/; do not edit */"
    if (open) print "    ;"
    open = name != "ids"
    if (open) printf "static const char lua_%s[] =\n%s", name, shared
}
name == "ids" { shared = shared quoted($0) }
name != "ids" { printf "%s", quoted($0) }
END { print "    ;" }

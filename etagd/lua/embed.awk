# SPDX-License-Identifier: Apache-2.0
# Turns Lua files into a C header: one string constant per file, named lua_<file without .lua>.
FNR == 1 {
    if (NR > 1) print "    ;"
    else print "/* generated from etagd/lua/; do not edit */"
    name = FILENAME
    sub(/.*\//, "", name)
    sub(/\.lua$/, "", name)
    print "static const char lua_" name "[] ="
}
{
    gsub(/\\/, "\\\\")
    gsub(/"/, "\\\"")
    print "    \"" $0 "\\n\""
}
END { print "    ;" }

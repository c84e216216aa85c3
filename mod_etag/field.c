/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/field.h"

#include "etagd/lib/coding.h"
#include "etagd/lib/entity_tag.h"
#include "etagd/lib/entry.h"

bool field_names_nothing(const char *field)
{
    struct entity_tag_list list;
    struct entity_tag tag;

    if (!field || entity_tag_list_is_any(span_str(field)))
        return false;
    entity_tag_list_start(&list, span_str(field));
    return !entity_tag_list_next(&list, &tag);
}

/* Whether one of the tags is ours, and of this recipe ('\0': of any). */
static bool names_recipe(const char *field, char recipe)
{
    struct entity_tag_list list;
    struct entity_tag tag, base;
    enum coding coding;

    if (!field)
        return false;
    entity_tag_list_start(&list, span_str(field));
    while (entity_tag_list_next(&list, &tag))
        if (coding_split(&tag, &base, &coding) && (!recipe || base.opaque.p[0] == recipe))
            return true;
    return false;
}

bool field_names_ours(const char *field)
{
    return names_recipe(field, '\0');
}

bool field_names_generation(const char *field)
{
    return names_recipe(field, ENTRY_GENERATION);
}

bool field_names_version(const char *field)
{
    return names_recipe(field, ENTRY_VERSION);
}

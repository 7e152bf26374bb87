# Brewer–Nash: the Chinese wall.
#
# Rule    Simple security: an object is reached only when no ancestor acted on another dataset of its conflict class.
#         *-property: an object is written only when no ancestor acted on another dataset at all; an object without a
#         conflict class, which anybody may read, only when none acted on an object with one.
# Data    brewer_nash.classes: the conflict classes; brewer_nash.read and .write: operations. With an object, one that
#         is in no list writes. resources[id].conflict_class and .dataset (the company)
# Cannot  remember between lineages: the wall stands around what led to this call. Begin a person's day with one
#         lineage, or join the last one (kest.Join).
# Others  Reading an object without a conflict class is allowed, and so are calls without an object that are not in the
#         write list.
package kest.brewer_nash

import data.kest.deployment
import data.kest.deployment.brewer_nash as given
import data.kest.lineage

default allow := false

allow if {
	lineage.known
	is_array(given.classes)
	is_array(given.read)
	is_array(given.write)
	sound
	count(deny) == 0
}

# sound: resources are left out, or an object for each id. A list of them would be there, and protect nothing.
sound if not listed

sound if {
	is_object(deployment.resources)
	not odd
}

listed if _ = deployment.resources

# An ancestor's object of no known class could be a competitor.
odd if {
	some other in there
	type_name(other.class) != "string"
}

odd if {
	some other in there
	type_name(other.dataset) != "string"
}

named if is_string(input.object.id)

read if input.environment.operation in given.read

write if input.environment.operation in given.write

# With an object, what is in no list writes, too.
writes if write

writes if {
	named
	not read
}

# wall has the conflict class and dataset of an object that has one. One that is half described has a wall, too.
wall(id) := {"class": object.get(r, "conflict_class", null), "dataset": object.get(r, "dataset", null)} if {
	r := deployment.resources[id]
	count({"conflict_class", "dataset"} & object.keys(r)) > 0
}

here := wall(input.object.id)

there contains wall(id) if some id in input.lineage.resources

deny contains "the object's conflict class or dataset is not known" if {
	here
	not described
}

described if {
	here.class in given.classes
	is_string(here.dataset)
}

deny contains "simple security: an ancestor acted on a competitor" if {
	some other in there
	other.class == here.class
	other.dataset != here.dataset
}

deny contains "*-property: an ancestor acted on another dataset" if {
	writes
	some other in there
	other.dataset != here.dataset
}

deny contains "*-property: what follows from a walled object is written outside of every wall" if {
	writes
	not here
	count(there) > 0
}

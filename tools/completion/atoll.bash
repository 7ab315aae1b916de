# SPDX-License-Identifier: Apache-2.0
#
# Completion for bash. Commands and options come from what each program says with --help, so they are never
# older than the program. Names of nodes and processes come from `svcctl status`.

_atoll_help() { "$1" --help 2>/dev/null; }

# Options in the help of $1, each once.
_atoll_options() {
	_atoll_help "$1" | grep -oE -- '(^|[^[:alnum:]-])--[a-z][a-z0-9-]*' | sed 's/^[^-]*//' | sort -u
}

# Commands: words that begin lines of the help, indented by two.
_atoll_commands() {
	_atoll_help "$1" | sed -nE 's/^  ([a-z][a-z-]*)( .*)?$/\1/p' | sort -u
}

# NODE/PROCESS of the local nodes.
_atoll_processes() {
	"$1" status --json 2>/dev/null | python3 -c 'import json, sys
for line in sys.stdin:
    node = json.loads(line)
    for p in node.get("processes", []):
        print(node["node"] + "/" + p["name"])' 2>/dev/null
}

_atoll() {
	local program=$1 word=$2 before=$3 command= i

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} == -* ]] || { command=${COMP_WORDS[i]}; break; }
	done
	case $before in
	--port) COMPREPLY=($(compgen -W "uring shm" -- "$word")) && return ;;
	--idle) COMPREPLY=($(compgen -W "auto spin yield block" -- "$word")) && return ;;
	--dir | --sysroot | --build | --state) COMPREPLY=($(compgen -d -- "$word")) && return ;;
	esac
	if [[ $word == -* ]]; then
		COMPREPLY=($(compgen -W "$(_atoll_options "$program")" -- "$word"))
	elif [[ -z $command ]]; then
		case ${program##*/} in
		msgdump) COMPREPLY=($(compgen -f -- "$word")) ;;
		*) COMPREPLY=($(compgen -W "$(_atoll_commands "$program")" -- "$word")) ;;
		esac
	elif [[ $command == restart || $command == logs ]]; then
		COMPREPLY=($(compgen -W "$(_atoll_processes "$program")" -- "$word"))
	fi
	[[ ${#COMPREPLY[@]} -gt 0 || $word == -* ]] || COMPREPLY=($(compgen -f -- "$word"))
}

complete -F _atoll svcctl atoll-index atoll-bench msgdump

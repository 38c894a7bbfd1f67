# Completion of barman for bash. Load it with:  source <(barman completion bash)
# The program itself finds the candidates: it is asked in the way of Python's argcomplete, and answers on descriptor 8.
_barman() {
    mapfile -t COMPREPLY < <(
        COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT _ARGCOMPLETE=1 _ARGCOMPLETE_IFS=$'\n' _ARGCOMPLETE_SHELL=bash \
            _ARGCOMPLETE_COMP_WORDBREAKS=$COMP_WORDBREAKS _ARGCOMPLETE_SUPPRESS_SPACE=1 \
            "${1/#\~\//$HOME/}" 8>&1 >/dev/null 2>&1 </dev/null
    )
    # Behind a directory the path goes on.
    [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != */ ]] || compopt -o nospace 2>/dev/null
}
complete -F _barman barman

/** Each shell's script asks the program itself, so that it offers what this release has, and the queues that there are. */
export const scripts = Object.freeze({
  bash: `# posthaste completion for bash: source <(posthaste completion bash)
_posthaste() {
  local IFS=$'\\n' line words cword
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n =: words cword
  else
    words=("\${COMP_WORDS[@]}") cword=$COMP_CWORD
  fi
  COMPREPLY=()
  while IFS=$'\\t' read -r line _; do
    [ -n "$line" ] && COMPREPLY+=("$line")
  done < <(command posthaste __complete -- "\${words[@]:1:$cword}" 2>/dev/null)
}
complete -o default -F _posthaste posthaste
`,
  zsh: `#compdef posthaste
# posthaste completion for zsh: posthaste completion zsh > ~/.zfunc/_posthaste, with fpath+=~/.zfunc before compinit
_posthaste() {
  local -a found
  local line value about
  while IFS= read -r line; do
    value=\${line%%$'\\t'*} about=\${line#*$'\\t'}
    found+=("\${value//:/\\\\:}:\${about}")
  done < <(command posthaste __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#found} )); then
    _describe 'posthaste' found
  else
    _files
  fi
}
if [ "$funcstack[1]" = "_posthaste" ]; then
  _posthaste "$@"
else
  compdef _posthaste posthaste
fi
`,
  fish: `# posthaste completion for fish: posthaste completion fish > ~/.config/fish/completions/posthaste.fish
function __posthaste_complete
    set -l words (commandline -opc) (commandline -ct)
    command posthaste __complete -- $words[2..-1] 2>/dev/null
end
complete -c posthaste -f -a '(__posthaste_complete)'
complete -c posthaste -l file -r -F
complete -c posthaste -l payload-file -r -F
complete -c posthaste -l config -r -F
`,
})

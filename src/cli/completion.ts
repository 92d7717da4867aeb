import { Argument, type CommandUnknownOpts } from '@commander-js/extra-typings'
import { command, type Shaped, told } from './command.ts'
import { scripts } from './completion-scripts.ts'
import { print, printJson } from './output.ts'

export function completionCommand() {
  const shells = Object.keys(scripts) as (keyof typeof scripts)[]
  return command('completion')
    .description('Prints the completion script of a shell: commands, options, their values, and the names of queues.')
    .addArgument(new Argument('<shell>', 'the shell').choices(shells))
    .option('--json', 'answer in JSON')
    .addHelpText(
      'after',
      told({
        example: `source <(posthaste completion bash)
posthaste completion zsh > ~/.zfunc/_posthaste
posthaste completion fish > ~/.config/fish/completions/posthaste.fish`,
        json: '{"version":1,"shell","script"}',
      }),
    )
    .action((shell, options) => {
      const script = scripts[shell as keyof typeof scripts]
      if (options.json) printJson({ shell, script })
      else print(script.trimEnd())
    })
}

/** What may follow, with a word about it. */
export interface Candidate {
  readonly value: string
  readonly about: string
}

/** What has names in a database. */
export type Kind = 'queue' | 'stream' | 'group'

/** The names that there are of a kind, in the database that the words lead to; of a stream's groups, where it is named. */
export type NamesOf = (kind: Kind, before: readonly string[], stream?: string) => Promise<readonly string[]>

/** What may stand where the last of the words is, given those before it. Words leave out the program's own name. */
export async function candidates(root: Shaped, words: readonly string[], names: NamesOf): Promise<Candidate[]> {
  const before = words.slice(0, -1)
  const begun = words.at(-1) ?? ''
  const { command: at, given, option } = place(root, before)
  const found = option
    ? await valuesOf(option, before, names)
    : await wordsOf({ command: at, given }, begun, before, names)
  return found.filter(({ value }) => value.startsWith(begun))
}

type Option = Shaped['options'][number]

function place(root: Shaped, words: readonly string[]) {
  let command: CommandUnknownOpts = root
  let given: string[] = []
  let option: Option | undefined
  for (const word of words) {
    if (option) {
      option = undefined
    } else if (word.startsWith('-')) {
      const named = command.options.find(({ long, short }) => long === word || short === word)
      option = named && (named.required || named.optional) ? named : undefined
    } else {
      const inner = command.commands.find((each) => each.name() === word)
      if (inner) [command, given] = [inner, []]
      else given.push(word)
    }
  }
  return { command, given, option }
}

async function wordsOf(
  { command: at, given }: { readonly command: Shaped; readonly given: readonly string[] },
  begun: string,
  before: readonly string[],
  names: NamesOf,
): Promise<Candidate[]> {
  if (begun.startsWith('-')) {
    return [...at.options.map(({ long, description }) => ({ value: long ?? '', about: description })), HELP]
  }
  const commands = at.commands
    .filter((each) => !each.name().startsWith('__'))
    .map((each) => ({ value: each.name(), about: each.summary() || each.description() }))
  const argument = at.registeredArguments[Math.min(given.length, at.registeredArguments.length - 1)]
  if (!argument || (given.length >= at.registeredArguments.length && !argument.variadic)) return commands
  if (argument.argChoices) return [...commands, ...argument.argChoices.map((value) => ({ value, about: '' }))]
  const kind = KINDS.find((each) => each === argument.name())
  return kind ? [...commands, ...named(kind, await names(kind, before, given[0]))] : commands
}

const KINDS: readonly Kind[] = ['queue', 'stream', 'group']

const HELP = { value: '--help', about: 'how it is used' }

async function valuesOf(option: Option, before: readonly string[], names: NamesOf): Promise<Candidate[]> {
  if (option.argChoices) return option.argChoices.map((value) => ({ value, about: '' }))
  const kind = KINDS.find((each) => `--${each}` === option.long)
  return kind ? named(kind, await names(kind, before, before[before.indexOf('--stream') + 1])) : []
}

function named(kind: Kind, names: readonly string[]): Candidate[] {
  return names.map((value) => ({ value, about: kind }))
}

const PATIENCE_MS = 1_500

/** Of the database that the words lead to; none when it does not answer soon. */
export const storedNames: NamesOf = async (kind, before, stream) => {
  const { promise: late, resolve } = Promise.withResolvers<readonly string[]>()
  setTimeout(() => resolve([]), PATIENCE_MS).unref()
  return await Promise.race([late, namesStored(kind, before, stream).catch(() => [])])
}

async function namesStored(kind: Kind, before: readonly string[], stream?: string): Promise<readonly string[]> {
  const { withPosthaste } = await import('./open.ts')
  const said = (flag: string) => before[before.indexOf(flag) + 1] ?? undefined
  const given = (flag: string) => (before.includes(flag) ? said(flag) : undefined)
  const where = { url: given('--url'), schema: given('--schema'), config: given('--config') }
  return await withPosthaste(
    { ...where, applicationName: 'posthaste completion', json: true },
    async ({ posthaste }) => {
      if (kind === 'group')
        return stream === undefined ? [] : (await posthaste.stream(stream).groups()).map(({ group }) => group)
      const { queues } = await posthaste.topology()
      return queues.filter((queue) => kind === 'queue' || queue.kind === 'stream').map(({ name }) => name)
    },
  )
}

/** One candidate a line, with what it is about behind a tab. */
export function printCandidates(found: readonly Candidate[]): void {
  if (found.length > 0) print(found.map(({ value, about }) => `${value}\t${firstSentence(about)}`).join('\n'))
}

function firstSentence(text: string): string {
  return (text.split(/[.:;\n]/)[0] ?? '').trim()
}

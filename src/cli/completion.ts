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

/** What may stand where the last of the words is, given those before it. Words leave out the program's own name. */
export async function candidates(
  root: Shaped,
  words: readonly string[],
  queues: (before: readonly string[]) => Promise<readonly string[]>,
): Promise<Candidate[]> {
  const before = words.slice(0, -1)
  const begun = words.at(-1) ?? ''
  const { command: at, arguments: given, option } = place(root, before)
  const found = option ? await valuesOf(option, before, queues) : await wordsOf(at, given, begun, before, queues)
  return found.filter(({ value }) => value.startsWith(begun))
}

type Option = Shaped['options'][number]

function place(root: Shaped, words: readonly string[]) {
  let command: CommandUnknownOpts = root
  let given = 0
  let option: Option | undefined
  for (const word of words) {
    if (option) {
      option = undefined
    } else if (word.startsWith('-')) {
      const named = command.options.find(({ long, short }) => long === word || short === word)
      option = named && (named.required || named.optional) ? named : undefined
    } else {
      const inner = command.commands.find((each) => each.name() === word)
      if (inner) [command, given] = [inner, 0]
      else given += 1
    }
  }
  return { command, arguments: given, option }
}

async function wordsOf(
  at: Shaped,
  given: number,
  begun: string,
  before: readonly string[],
  queues: (before: readonly string[]) => Promise<readonly string[]>,
): Promise<Candidate[]> {
  if (begun.startsWith('-')) {
    return [...at.options.map(({ long, description }) => ({ value: long ?? '', about: description })), HELP]
  }
  const commands = at.commands
    .filter((each) => !each.name().startsWith('__'))
    .map((each) => ({ value: each.name(), about: each.summary() || each.description() }))
  const argument = at.registeredArguments[Math.min(given, at.registeredArguments.length - 1)]
  if (!argument || (given >= at.registeredArguments.length && !argument.variadic)) return commands
  if (argument.argChoices) return [...commands, ...argument.argChoices.map((value) => ({ value, about: '' }))]
  return argument.name() === 'queue' ? [...commands, ...named(await queues(before))] : commands
}

const HELP = { value: '--help', about: 'how it is used' }

async function valuesOf(
  option: Option,
  before: readonly string[],
  queues: (before: readonly string[]) => Promise<readonly string[]>,
): Promise<Candidate[]> {
  if (option.argChoices) return option.argChoices.map((value) => ({ value, about: '' }))
  return option.long === '--queue' ? named(await queues(before)) : []
}

function named(queues: readonly string[]): Candidate[] {
  return queues.map((value) => ({ value, about: 'queue' }))
}

const PATIENCE_MS = 1_500

/** The queues of the database that the words lead to; none when it does not answer soon. */
export async function queueNames(before: readonly string[]): Promise<readonly string[]> {
  const { promise: late, resolve } = Promise.withResolvers<readonly string[]>()
  setTimeout(() => resolve([]), PATIENCE_MS).unref()
  return await Promise.race([late, storedQueues(before).catch(() => [])])
}

async function storedQueues(before: readonly string[]): Promise<readonly string[]> {
  const { withPosthaste } = await import('./open.ts')
  const said = (flag: string) => before[before.indexOf(flag) + 1] ?? undefined
  const given = (flag: string) => (before.includes(flag) ? said(flag) : undefined)
  const where = { url: given('--url'), schema: given('--schema'), config: given('--config') }
  return await withPosthaste(
    { ...where, applicationName: 'posthaste completion', json: true },
    async ({ posthaste }) => {
      const { queues } = await posthaste.topology()
      return queues.map(({ name }) => name)
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

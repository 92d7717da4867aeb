import { Option } from '@commander-js/extra-typings'
import type { LedgerEntry, LedgerHistory } from '../index.ts'
import { EFFECT_STATES, EFFECT_WANTS } from '../rules/effect.ts'
import { command, databaseCommand, duration, told, wholeBetween } from './command.ts'
import { confirm } from './confirm.ts'
import { Failure, UsageFailure } from './failure.ts'
import { parsedJson } from './json-input.ts'
import { type Opened, withPosthaste } from './open.ts'
import { cut, harmless, print, printHeading, printJson, printTable, span } from './output.ts'
import { myName } from './who.ts'

const EFFECT = `"operation","state","wants","kind","provider","outcome","reason","response","calls",
   "keyNumber","providerKey","keySince","windowUntil","keyCalls","keyErrors","token","holder","leaseUntil",
   "contradicted","startedAt","changedAt","knownAt","endedAt"`

export function effectsCommand() {
  return command('effects')
    .description('The effect ledger: calls to the outside, and what is known of them. Without a command: list.')
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(resolveCommand())
    .addHelpText('after', told({ example: 'posthaste effects list --wants needs_review' }))
}

function listCommand() {
  return databaseCommand('list')
    .description(
      'Lists operations that want somebody, the one that has waited longest first; or those in given states.',
    )
    .addOption(
      new Option('--wants <why...>', 'for one of these reasons (default: for any, without --state)').choices(
        EFFECT_WANTS,
      ),
    )
    .addOption(
      new Option('--state <state...>', 'in one of these states, whether they want anybody or not').choices([
        ...EFFECT_STATES,
        'all',
      ]),
    )
    .option('--provider <name>', 'with this provider')
    .option('--older-than <time>', 'unchanged for so long: 30s, 10m, 2h, 1d', duration)
    .option('--starting-with <text>', 'whose name begins so: capture:')
    .option('--limit <count>', 'how many, 1 to 1000', wholeBetween(1, 1_000), 100)
    .option('--after <operation>', 'continue a list: what comes after this one')
    .addHelpText(
      'after',
      told({
        example: `posthaste effects list
posthaste effects list --wants unknown --older-than 10m
posthaste effects list --wants needs_review --provider acme --json
posthaste effects list --wants overdue
posthaste effects list --state all --starting-with capture:`,
        json: `{"version":1,"effects":[{${EFFECT}}],"next"}
   wants: unknown, needs_review, overdue (begun, and its process is gone), unrecorded (its outcome is known, and the
   business rows are not written), contradicted, or null; next: give it to --after for what follows, null at the end`,
      }),
    )
    .action(async (options) => {
      const { wants, provider, olderThan, startingWith, limit, after } = options
      const state = statesOf(options.state)
      const effects = await withEffects(options, ({ posthaste }) =>
        posthaste.effects.list({ wants, state, provider, olderThanMs: olderThan, startingWith, limit, after }),
      )
      const next = effects.length === limit ? effects.at(-1)!.operation : null
      if (options.json) return printJson({ effects: effects.map(nulled), next })
      await printList(effects, state === undefined ? 'No operation wants anybody' : 'No operations')
      if (next !== null) print(`\nThere may be more: --after ${harmless(next)}`)
    })
}

function showCommand() {
  return databaseCommand('show')
    .description('Shows one operation with everything that was tried.')
    .argument('<operation>', 'its name')
    .addHelpText(
      'after',
      told({
        example: 'posthaste effects show capture:pay_17',
        json: `{"version":1,"effect":{${EFFECT},
   "attempts":[{"id","event","at","token","worker","call","providerKey","requestHash","late","outcome","reason","status","response"}]}}
   response is as it was stored: redacted, and "[sealed]" where posthaste.config.ts has no effects.unseal that opens it`,
      }),
    )
    .action(async (operation, options) => {
      const effect = await withEffects(options, ({ posthaste }) => posthaste.effects.show(operation))
      if (!effect) throw new Failure(`Cannot show operation "${operation}": there is none of this name`)
      if (options.json) return printJson({ effect: { ...nulled(effect), attempts: effect.attempts.map(nulled) } })
      await printWhole(effect)
    })
}

function resolveCommand() {
  return databaseCommand('resolve')
    .description('Writes down what a person has found out about an operation that is unknown or in review.')
    .argument('<operation>', 'its name')
    .addOption(
      new Option(
        '--as <outcome>',
        'what came of it; retry: nothing was done, and it may be called again, with a new key',
      ).choices(['succeeded', 'failed', 'retry'] as const),
    )
    .option('--reason <text>', 'how that is known: a ticket, a line of the provider’s report')
    .option('--response <json>', 'what the call would have answered: the handler gets it')
    .option('--by <name>', 'who says so, for the record and the journal (default: you)')
    .option('--yes', 'do not ask, for retry')
    .addHelpText(
      'after',
      told({
        example: `posthaste effects resolve capture:pay_17 --as succeeded --reason "in the report of May 3" --response '{"id":"ch_9"}'
posthaste effects resolve capture:pay_18 --as failed --reason "the provider has nothing, ticket 42"
posthaste effects resolve capture:pay_19 --as retry --reason "the provider confirms that nothing was done" --yes`,
        json: `{"version":1,"operation","resolvedAs","by"}
   The next run of the operation records it with the business rows: redrive its message (posthaste dead redrive)`,
      }),
    )
    .action(async (operation, options) => {
      const { as, reason, yes, json } = options
      if (as === undefined) throw new UsageFailure('Cannot resolve it without --as: succeeded, failed or retry')
      if (reason === undefined) throw new UsageFailure('Cannot resolve it without --reason: how is that known?')
      const by = options.by ?? myName()
      if (by === undefined) throw new UsageFailure('Cannot tell who resolves it: add --by')
      const response = options.response === undefined ? {} : { response: responseOf(options.response) }
      if (as === 'retry') {
        if (options.response !== undefined)
          throw new UsageFailure('Cannot take --response with --as retry: the provider will answer')
        await confirm({ count: 1, verb: 'repeat', what: 'operation', how: 'with a new key', yes, json })
      }
      await withEffects(options, ({ posthaste }) =>
        posthaste.effects.resolve(operation, { as, by, reason, ...response }),
      )
      if (json) return printJson({ operation, resolvedAs: as, by })
      print(`"${harmless(operation)}" ${as === 'retry' ? 'may be called again' : `has ${as}`}, says ${harmless(by)}`)
      print('The next run of it goes on from there: redrive its message, or run it again')
    })
}

interface Where {
  readonly url?: string | undefined
  readonly schema?: string | undefined
  readonly config?: string | undefined
  readonly json?: true | undefined
}

function withEffects<Result>(where: Where, work: (opened: Opened) => Promise<Result>): Promise<Result> {
  return withPosthaste({ ...where, applicationName: 'posthaste effects' }, work)
}

type State = (typeof EFFECT_STATES)[number]

function statesOf(states: readonly (State | 'all')[] | undefined): State[] | 'all' | undefined {
  if (states === undefined) return undefined
  return states.includes('all') ? 'all' : (states as State[])
}

function responseOf(text: string): unknown {
  try {
    return parsedJson(text)
  } catch (error) {
    throw new UsageFailure(`Cannot take --response: ${(error as Error).message}`)
  }
}

// What there is none of is null, so that every answer has every key.
function nulled<Facts extends object>(facts: Facts): Record<string, unknown> {
  return Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, value ?? null]))
}

async function printList(effects: readonly LedgerEntry[], empty: string): Promise<void> {
  await printTable(
    ['operation', 'state', 'wants', 'provider', 'calls', 'unchanged', 'key good until', 'reason'],
    effects.map(({ operation, state, wants, provider, calls, changedAt, windowUntil, reason }) => [
      operation,
      state,
      wants,
      provider,
      calls,
      span(Math.max(0, Date.now() - changedAt.getTime())),
      windowUntil,
      cut(reason ?? '', 60),
    ]),
    empty,
  )
}

async function printWhole({ attempts, response, ...facts }: LedgerHistory): Promise<void> {
  for (const [name, value] of Object.entries(facts)) {
    if (value === undefined || value === false) continue
    print(`${name.padEnd(14)} ${harmless(value instanceof Date ? value.toISOString() : String(value))}`)
  }
  if (response !== undefined) print(`${'response'.padEnd(14)} ${harmless(JSON.stringify(response))}`)
  printHeading('record')
  await printTable(
    ['at', 'event', 'outcome', 'reason', 'status', 'token', 'by'],
    attempts.map(({ at, event, late, outcome, reason, status, token, worker }) => [
      at,
      late ? `${event}, late` : event,
      outcome,
      cut(reason ?? '', 60),
      status,
      token,
      worker,
    ]),
    'Nothing was tried',
  )
}

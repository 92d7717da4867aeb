import type { Queue } from '../index.ts'
import { command, databaseCommand, duration, told } from './command.ts'
import { confirm } from './confirm.ts'
import { BadNews } from './failure.ts'
import { withPosthaste } from './open.ts'
import { print, printJson } from './output.ts'
import { myName } from './who.ts'

export function queueCommand() {
  return command('queue')
    .description('Operates one queue: pause, resume, purge, delete it, or cancel a delivery that waits.')
    .addCommand(pauseCommand())
    .addCommand(resumeCommand())
    .addCommand(purgeCommand())
    .addCommand(deleteCommand())
    .addCommand(cancelCommand())
    .addHelpText('after', told({ example: 'posthaste queue pause billing --reason "the bank is down"' }))
}

function pauseCommand() {
  return databaseCommand('pause')
    .description(
      'No process claims anything of the queue from now on; handlers under way finish, messages go on arriving.',
    )
    .argument('<queue>', 'the queue')
    .option(
      '--for <time>',
      'then it resumes by itself: 500ms, 30s, 10m, 2h, 1d (default: until it is resumed)',
      duration,
    )
    .option('--reason <text>', 'why; status shows it')
    .option('--by <name>', 'who does it; status shows it (default: you)')
    .addHelpText(
      'after',
      told({
        example: 'posthaste queue pause billing --for 10m --reason "the bank is down"',
        json: '{"version":1,"queue","paused":{"source","until","reason","by"}}    until is null: until it is resumed',
      }),
    )
    .action(async (queue, options) => {
      const { for: forMs, reason } = options
      const by = options.by ?? myName()
      const { paused } = await withQueue(queue, options, async (named) => {
        await named.pause({ forMs, reason, by })
        return await named.status()
      })
      if (options.json) return printJson({ queue, paused })
      print(`"${queue}" is paused ${paused?.until ? `until ${paused.until.toISOString()}` : 'until it is resumed'}`)
    })
}

function resumeCommand() {
  return databaseCommand('resume')
    .description('Opens the queue again, whoever closed it: an operator, a handler, or the circuit breaker.')
    .argument('<queue>', 'the queue')
    .addHelpText(
      'after',
      told({
        example: 'posthaste queue resume billing',
        json: '{"version":1,"queue","resumed"}    resumed is false: it was open',
      }),
    )
    .action(async (queue, options) => {
      const resumed = await withQueue(queue, options, (named) => named.resume())
      if (options.json) printJson({ queue, resumed })
      else print(resumed ? `"${queue}" is open again` : `"${queue}" was open`)
    })
}

function purgeCommand() {
  return databaseCommand('purge')
    .description('Deletes what waits in the queue for good, when it is told yes; dead letters stay (see: dead purge).')
    .argument('<queue>', 'the queue')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      told({ example: 'posthaste queue purge billing --yes', json: '{"version":1,"queue","purged"}' }),
    )
    .action(async (queue, options) => {
      const { yes, json } = options
      const { purged } = await withQueue(queue, options, async (named) => {
        const { ready, scheduled } = await named.status()
        const count = ready + scheduled
        if (count > 0) await confirm({ count, what: count === 1 ? 'delivery' : 'deliveries', yes, json })
        return await named.purge()
      })
      if (json) printJson({ queue, purged })
      else print(`${purged} purged`)
    })
}

function deleteCommand() {
  return databaseCommand('delete')
    .description(
      'Deletes the queue and its bindings, when it is told yes; exit code 1 when it has anything and --force is not given.',
    )
    .argument('<queue>', 'the queue')
    .option('--yes', 'do not ask')
    .option('--force', 'with all it has: deliveries, leases, dead letters')
    .addHelpText(
      'after',
      told({
        example: `posthaste queue delete billing --yes
posthaste queue delete billing --yes --force`,
        json: '{"version":1,"queue","deleted","purged"}',
      }),
    )
    .action(async (queue, options) => {
      const { yes, json, force = false } = options
      const { purged } = await withQueue(queue, options, async (named) => {
        const { depth, dead } = await named.status()
        const content =
          force && depth + dead > 0
            ? ` with ${deliveries(depth)} and ${dead} ${dead === 1 ? 'dead letter' : 'dead letters'}`
            : ''
        await confirm({ count: 1, what: `queue${content}`, yes, json })
        return await named.delete({ force })
      })
      if (json) printJson({ queue, deleted: true, purged })
      else print(`"${queue}" is deleted${purged > 0 ? `, and ${deliveries(purged)} with it` : ''}`)
    })
}

function cancelCommand() {
  return databaseCommand('cancel')
    .description('Takes back a delivery that waits for its time; exit code 1 when none waits.')
    .argument('<queue>', 'the queue')
    .argument('<message>', 'the id of the message')
    .addHelpText(
      'after',
      told({
        example: 'posthaste queue cancel reminders 0198f2d4-3f5e-7c4e-9b1a-2f6f0c9d8e7a',
        json: '{"version":1,"queue","messageId","cancelled"}',
      }),
    )
    .action(async (queue, messageId, options) => {
      const cancelled = await withQueue(queue, options, (named) => named.cancel(messageId))
      if (options.json) printJson({ queue, messageId, cancelled })
      else print(cancelled ? 'cancelled' : `Nothing of this message waits in "${queue}"`)
      if (!cancelled) throw new BadNews('it does not wait')
    })
}

interface Where {
  readonly url?: string | undefined
  readonly schema?: string | undefined
  readonly config?: string | undefined
}

function withQueue<Result>(name: string, where: Where, work: (queue: Queue) => Promise<Result>): Promise<Result> {
  return withPosthaste({ ...where, applicationName: 'posthaste queue' }, ({ posthaste }) => work(posthaste.queue(name)))
}

function deliveries(count: number): string {
  return `${count} ${count === 1 ? 'delivery' : 'deliveries'}`
}

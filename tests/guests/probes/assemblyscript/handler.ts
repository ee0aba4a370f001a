// Shows its client a session's steps, errors, timeouts and addresses: one message is one command.
//
// The contract's functions as they look from inside a module: a result is a place in memory, with 0 at its start if all
// went well; a variant begins with its case's number. transform.mjs gives the exports the contract's names.

@external("wharf:handler/connection@0.1.0", "recv")
declare function recv(max: u32, result: usize): void;
@external("wharf:handler/connection@0.1.0", "send")
declare function send(data: usize, length: usize, result: usize): void;
@external("wharf:handler/connection@0.1.0", "shutdown")
declare function shutdown(direction: u32, result: usize): void;
@external("wharf:handler/connection@0.1.0", "set-timeout")
declare function setTimeout(isSome: u32, nanoseconds: u64): void;
@external("wharf:handler/connection@0.1.0", "client-address")
declare function clientAddress(result: usize): void;
@external("wharf:handler/connection@0.1.0", "server-address")
declare function serverAddress(result: usize): void;

const CODES = ["timed-out", "connection-reset", "broken-pipe", "message-too-large", "not-permitted", "other"];
const WRITE = 1;
// Where the host puts what it returns, which is taken out of it before the next call.
const buffer = memory.data(1024, 8);
const result = memory.data(16, 8);
// Why the step that runs is to fail; empty if it isn't.
let failure = "";

export function cabi_realloc(old: usize, oldSize: usize, align: usize, size: usize): usize {
  if (size > 1024) unreachable();
  return buffer;
}

export function setup(): usize {
  say("setup");
  return step();
}

export function handle(): usize {
  while (true) {
    const heard = hear();
    if (!heard.length || failure.length) return step();
    const space = heard.indexOf(" ");
    const command = space < 0 ? heard : heard.substring(0, space);
    const rest = heard.substring(space + 1);
    if (command == "addresses") {
      clientAddress(result);
      const client = name();
      serverAddress(result);
      say(client + " " + name());
    } else if (command == "timeout") {
      setTimeout(1, u64.parse(rest) * 1000000);
      hear();
      setTimeout(0, 0);
      const error = failure;
      failure = "";
      if (error.length) say(error);
    } else if (command == "fail") {
      failure = rest;
    } else if (command == "trap") {
      throw new Error("told to");
    } else if (command == "shutdown") {
      shutdown(WRITE, result);
      say("too late");
    } else {
      say(heard);
    }
    if (failure.length) return step();
  }
}

export function finish(): usize {
  say("finish");
  return step();
}

// Waits for a message, and leaves the end of its line out. An empty one is end-of-stream, or a failure.
function hear(): string {
  recv(1024, result);
  if (load<u8>(result)) {
    failure = CODES[load<u8>(result, 4)];
    return "";
  }
  return text(load<usize>(result, 4), load<usize>(result, 8)).trimEnd();
}

function say(line: string): void {
  const bytes = String.UTF8.encode(line + "\n");
  send(changetype<usize>(bytes), bytes.byteLength, result);
  if (load<u8>(result)) failure = CODES[load<u8>(result, 4)];
}

// AssemblyScript's strings are UTF-16, and the contract's UTF-8.
function text(from: usize, length: usize): string {
  return String.UTF8.decodeUnsafe(from, length);
}

// The address in `result`.
function name(): string {
  if (load<u8>(result)) return load<u8>(result, 4) ? text(load<usize>(result, 8), load<usize>(result, 12)) : "unnamed";
  const ip = text(load<usize>(result, 4), load<usize>(result, 8));
  return (ip.includes(":") ? "[" + ip + "]" : ip) + ":" + load<u16>(result, 12).toString();
}

// What a step returns, and leaves no failure to the next.
function step(): usize {
  const why = String.UTF8.encode(failure);
  store<u8>(result, failure.length > 0);
  store<usize>(result, changetype<usize>(why), 4);
  store<usize>(result, why.byteLength, 8);
  failure = "";
  return result;
}

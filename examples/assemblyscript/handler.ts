// Gives back each line in upper case, until the client ends.
//
// The contract's functions as they look from inside a module: a result is a place in memory, with 0 at its start if all
// went well. transform.mjs gives the exports the contract's names.

@external("wharf:handler/connection@0.1.0", "recv")
declare function recv(max: u32, result: usize): void;
@external("wharf:handler/connection@0.1.0", "send")
declare function send(data: usize, length: usize, result: usize): void;

const SIZE: u32 = 65536;
// Where the host puts what was received. One place is enough: it is sent before more is received.
const buffer = memory.data(65536, 8);
// Room for the largest result, that of send.
const result = memory.data(16, 8);
const RECV_FAILED = "recv failed";
const SEND_FAILED = "send failed";
const text = memory.data(16);

export function cabi_realloc(old: usize, oldSize: usize, align: usize, size: usize): usize {
  if (size > SIZE) unreachable();
  return buffer;
}

// Runs first. A failure here ends the session.
export function setup(): usize {
  return succeed();
}

// The conversation.
export function handle(): usize {
  while (true) {
    recv(SIZE, result);
    if (load<u8>(result)) return fail(RECV_FAILED);
    const data = load<usize>(result, 4);
    const length = load<usize>(result, 8);
    if (!length) return succeed();
    send(data, upper(data, length), result);
    if (load<u8>(result)) return fail(SEND_FAILED);
  }
}

// Runs last, after a failed `handle` too.
export function finish(): usize {
  return succeed();
}

function succeed(): usize {
  store<u8>(result, 0);
  return result;
}

// AssemblyScript's strings are UTF-16, and the contract's UTF-8.
function fail(message: string): usize {
  const length = String.UTF8.encodeUnsafe(changetype<usize>(message), message.length, text);
  store<u8>(result, 1);
  store<usize>(result, text, 4);
  store<usize>(result, length, 8);
  return result;
}

// Turns ASCII to upper case in place, and leaves carriage returns out: the length that is left.
function upper(data: usize, length: usize): usize {
  let end: usize = 0;
  for (let at: usize = 0; at < length; at++) {
    const byte = load<u8>(data + at);
    if (byte == 13) continue;
    store<u8>(data + end, byte - u8(byte >= 97 && byte <= 122) * 32);
    end++;
  }
  return end;
}

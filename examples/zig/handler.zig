//! Gives back each line in upper case, until the client ends.
//!
//! The contract's functions as they look from inside a module, which is how any language without bindings of its own can
//! have them: a result is a place in memory, with 0 at its start if all went well.

const Bytes = extern struct { ptr: [*]const u8, len: usize };
const ErrorCode = extern struct { tag: u8, text: Bytes };
const Received = extern struct { failed: u8, as: extern union { data: Bytes, code: ErrorCode } };
const Sent = extern struct { failed: u8, code: ErrorCode };
const Step = extern struct { failed: u8 = 0, text: Bytes = .{ .ptr = undefined, .len = 0 } };

extern "wharf:handler/connection@0.1.0" fn recv(max: u32, received: *Received) void;
extern "wharf:handler/connection@0.1.0" fn send(ptr: [*]const u8, len: usize, sent: *Sent) void;

/// Where the host puts what was received. One place is enough: it is sent before more is received.
var buffer: [65536]u8 align(8) = undefined;
/// What a step returns has to be there still when the host reads it.
var outcome: Step = .{};

export fn cabi_realloc(_: ?*anyopaque, _: usize, _: usize, size: usize) [*]u8 {
    if (size > buffer.len) @trap();
    return &buffer;
}

/// Runs first. A failure here ends the session.
export fn @"wharf:handler/stream-handler@0.1.0#setup"() *const Step {
    return succeed();
}

/// The conversation.
export fn @"wharf:handler/stream-handler@0.1.0#handle"() *const Step {
    while (true) {
        var received: Received = undefined;
        recv(buffer.len, &received);
        if (received.failed != 0) return fail("recv failed");
        const heard = buffer[0..received.as.data.len];
        if (heard.len == 0) return succeed();
        const answer = upper(heard);
        var sent: Sent = undefined;
        send(answer.ptr, answer.len, &sent);
        if (sent.failed != 0) return fail("send failed");
    }
}

/// Runs last, after a failed `handle` too.
export fn @"wharf:handler/stream-handler@0.1.0#finish"() *const Step {
    return succeed();
}

fn succeed() *const Step {
    outcome = .{};
    return &outcome;
}

fn fail(text: []const u8) *const Step {
    outcome = .{ .failed = 1, .text = .{ .ptr = text.ptr, .len = text.len } };
    return &outcome;
}

/// Turns ASCII to upper case in place, and leaves carriage returns out.
fn upper(heard: []u8) []u8 {
    var end: usize = 0;
    for (heard) |byte| {
        if (byte == '\r') continue;
        heard[end] = if (byte >= 'a' and byte <= 'z') byte - ('a' - 'A') else byte;
        end += 1;
    }
    return heard[0..end];
}

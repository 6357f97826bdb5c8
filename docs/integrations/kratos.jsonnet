// What Ory Kratos sends to otpd: who gets which code, and for how long it is good. A message without a code (a link, a
// notice) has code null, and otpd sends nothing for it.
function(ctx)
  local data = std.get(ctx, 'template_data', {});
  // By SMS, Kratos calls a recovery code verification_code.
  local names = ['login_code', 'registration_code', 'verification_code', 'recovery_code'];
  local codes = if std.isObject(data) then [data[name] for name in names if !std.member([null, ''], std.get(data, name))] else [];
  {
    recipient: ctx.recipient,
    template_type: ctx.template_type,
    code: if std.length(codes) > 0 then codes[0] else null,
    expires_in_minutes: if std.isObject(data) then std.get(data, 'expires_in_minutes') else null,
  }
